# Stands in for python:3.13-slim: Debian's own Python 3.11, with this machine's certificates for pip.
FROM scratch
ADD rootfs.tar /
COPY etc /etc
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN ln -sf python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
LABEL iris.stand-in=true
CMD ["python3"]
