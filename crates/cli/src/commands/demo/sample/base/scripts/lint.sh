# Style of the scripts: they parse, and no line is too long or ends in blanks.
set -eu
faults=0
for file in src/*.sh scripts/*.sh tests/*.sh; do
    sh -n "$file" || faults=1
    if grep -nE '.{121,}|[[:blank:]]+$' "$file" | sed "s|^|$file:|"  | grep .; then
        faults=1
    fi
done
[ "$faults" -eq 0 ] && echo 'no faults'
exit "$faults"
