# Ends the farm run in this folder, whose script is gone: settings are put back, and the lease is free.
if [ -e restore.sh ] && [ ! -e restored ]; then
    bad=0
    . ./restore.sh
    if [ "$bad" = 0 ]; then
        touch restored
        rm -f not_restored
    else
        touch not_restored
    fi
fi
[ "$(cat ../../lease/owner 2>/dev/null)" = "${PWD##*/}" ] && rm -rf ../../lease
touch ended
