# Stands in for postgres:17: Debian's PostgreSQL 15, with as much of the image's start as our Compose file uses.
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql >/dev/null \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ && install -d -o postgres /var/lib/postgresql/data
COPY postgres_run.sh /usr/local/bin/postgres_run.sh
RUN chmod +x /usr/local/bin/postgres_run.sh
USER postgres
LABEL iris.stand-in=true
CMD ["postgres_run.sh"]
