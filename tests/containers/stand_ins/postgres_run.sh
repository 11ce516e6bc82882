#!/bin/bash -e
# An empty disk gets a database; then the server runs.
data=/var/lib/postgresql/data/pgdata
if [ ! -f "$data/PG_VERSION" ]; then
    initdb --pgdata "$data" --username postgres --encoding UTF8 --locale C.UTF-8 --auth "${POSTGRES_HOST_AUTH_METHOD:?}" >/dev/null
    echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >>"$data/pg_hba.conf"
fi
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
