#!/bin/sh
# Makes the secrets of the Compose stack in the folder $1: random, and never one that is there already.
#
# The folder is its owner's alone. The files in it may be read by anyone who gets there: Compose mounts them one by
# one with the mode they have here, and in the containers users without a name on this machine read them.
set -eu
folder=$1
mkdir -p "$folder"
chmod 700 "$folder"

random() {
    head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'
}

value() {
    cat "$folder/$1"
}

keep() {
    if [ -s "$folder/$1" ]; then
        echo "  $1 is there already"
        return
    fi
    # what makes a secret may have failed inside a pipeline
    if [ "${#2}" -lt 43 ]; then
        echo "$1 could not be made" >&2
        exit 1
    fi
    printf '%s\n' "$2" > "$folder/$1.unfinished"
    chmod 444 "$folder/$1.unfinished"
    mv "$folder/$1.unfinished" "$folder/$1"
    echo "  $1 made"
}

echo "Secrets in $folder:"
keep identity_keys "k1:$(random)"
for name in postgres todos_owner todos_app todos_maintenance redis; do
    keep "${name}_password" "$(random)"
done
database=postgres:5432/todos
keep migration_database_url "postgresql://todos_owner:$(value todos_owner_password)@$database"
keep database_url "postgresql://todos_app:$(value todos_app_password)@$database"
keep maintenance_database_url "postgresql://todos_maintenance:$(value todos_maintenance_password)@$database"
keep redis_url "redis://:$(value redis_password)@redis:6379/0"
keep redis.conf "requirepass $(value redis_password)"
