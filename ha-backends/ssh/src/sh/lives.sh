# Tells whether the process $1 that began at $2 still lives; its group is $group then.
ha_lives() {
    began=$2
    IFS= read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    # shellcheck disable=SC2086 # a list of words
    set -- ${stat##*) }
    group=$3
    [ "${20}" = "$began" ] && [ "$1" != Z ] && [ "$1" != X ]
}
