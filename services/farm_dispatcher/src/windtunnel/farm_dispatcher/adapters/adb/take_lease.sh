# Takes or renews the lease of a phone, for the farm run KEY, for HOLD seconds. Prints "granted" and the farm run that
# had it before, or "busy" and the farm run that has it.
mkdir -p blobs runs
now=$(date +%s)
if ! mkdir lease 2>/dev/null; then
    owner=$(cat lease/owner 2>/dev/null)
    until=$(cat lease/until 2>/dev/null)
    [ -n "$until" ] || until=$(($(stat -c %Y lease) + HOLD))
    if [ "$owner" != "$KEY" ]; then
        if alive "runs/$owner" || { [ "$now" -lt "$until" ] && [ ! -e "runs/$owner/started" ]; }; then
            echo "busy $owner"
            exit 0
        fi
        # Stale.
        mv lease "lease.$$" && rm -rf "lease.$$"
        mkdir lease 2>/dev/null || { echo busy; exit 0; }
    fi
fi
echo "$KEY" > lease/owner
echo $((now + HOLD)) > lease/until
echo "granted $owner"
