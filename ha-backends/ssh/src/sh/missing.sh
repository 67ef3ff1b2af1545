# Prints "home" where that is not there, or else the names of what is not, of pairs of a name and a program.
cd -- "$home" 2>/dev/null || { echo home; exit 0; }
[ -z "$pid_folder" ] || [ -d "$pid_folder" ] || echo pid_file
while [ $# -gt 1 ]; do
    case $2 in
    */*) [ -f "$2" ] && [ -x "$2" ] || echo "$1" ;;
    *) command -v -- "$2" >/dev/null 2>&1 || echo "$1" ;;
    esac
    shift 2
done
