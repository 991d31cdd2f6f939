-- Run once, by the image of PostgreSQL, when the data are made. `todos migrate` makes the tables and grants the rest.
SET log_min_error_statement = panic; -- a statement below that failed would put its password into the log
\set owner_password `cat /run/secrets/todos_owner_password`
\set app_password `cat /run/secrets/todos_app_password`
\set maintenance_password `cat /run/secrets/todos_maintenance_password`

CREATE ROLE todos_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
CREATE ROLE todos_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'app_password';
CREATE ROLE todos_maintenance LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'maintenance_password';

ALTER ROLE todos_app SET statement_timeout = '5s';
ALTER ROLE todos_app SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE todos_maintenance SET idle_in_transaction_session_timeout = '60s';

REVOKE ALL ON DATABASE todos FROM PUBLIC;
ALTER DATABASE todos OWNER TO todos_owner;
GRANT CONNECT ON DATABASE todos TO todos_app, todos_maintenance;
