# Runs tests/greeting.sh against dist/greeting and writes reports/greeting.xml in the form of JUnit.
set -eu
tests=0
failed=0
cases=

greeting() {
    sh dist/greeting "$@" 2>&1 || true
}

escaped() {
    printf '%s' "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'
}

check() {
    tests=$((tests + 1))
    line=$(grep -nF "check '$1'" tests/greeting.sh | head -n 1 | cut -d : -f 1)
    head="<testcase classname=\"greeting\" name=\"$(escaped "$1")\" file=\"tests/greeting.sh\" line=\"$line\""
    if [ "$2" = "$3" ]; then
        echo "ok   $1"
        cases="$cases$head/>
"
        return
    fi
    failed=$((failed + 1))
    echo "FAIL $1"
    echo "     tests/greeting.sh:$line: expected \`$2\`, got \`$3\`"
    message=$(escaped "expected \`$2\`, got \`$3\`")
    cases="$cases$head><failure message=\"$message\">tests/greeting.sh:$line: $message</failure></testcase>
"
}

. tests/greeting.sh

mkdir -p reports
{
    echo '<?xml version="1.0" encoding="UTF-8"?>'
    echo "<testsuite name=\"greeting\" tests=\"$tests\" failures=\"$failed\">"
    printf '%s' "$cases"
    echo '</testsuite>'
} > reports/greeting.xml
echo "$tests tests, $failed failed"
[ "$failed" -eq 0 ]
