# Read by the image's entry point when it makes the database: the roles of docs/kubernetes.md, which own nothing but
# what they need and cannot bypass row-level security.
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  -v owner="$OWNER_PASSWORD" -v app="$APP_PASSWORD" -v maintenance="$MAINTENANCE_PASSWORD" <<'SQL'
CREATE ROLE todos_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'owner';
CREATE ROLE todos_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'app';
CREATE ROLE todos_maintenance LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'maintenance';
REVOKE ALL ON DATABASE todos FROM PUBLIC;
GRANT CONNECT, CREATE ON DATABASE todos TO todos_owner;
GRANT CONNECT ON DATABASE todos TO todos_app, todos_maintenance;
GRANT USAGE, CREATE ON SCHEMA public TO todos_owner;
ALTER ROLE todos_app SET statement_timeout = '5s';
ALTER ROLE todos_app SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE todos_maintenance SET idle_in_transaction_session_timeout = '60s';
SQL
