# The functions of a farm run on the phone. The run is detached: it continues while the cable is pulled, and puts back
# what it changed. The generated part below calls them; its working directory is the folder of the farm run.
#
# Files here: script.pid, boot, words (what it does now), cancel (asks it to stop), restore.sh (puts settings back),
# ended. Files of an entry, in entries/<number>: begun, log, rc, seconds, before, after, logcat, and where it failed
# not_ready, damaged, install, timed_out.
T=$1
ROOT=$T/windtunnel
echo $$ > script.pid
cat /proc/sys/kernel/random/boot_id > boot 2>/dev/null

field() {
    dumpsys battery 2>/dev/null | while read -r name value; do
        if [ "$name" = "$1:" ]; then echo "$value"; break; fi
    done
}

thermal_status() {
    dumpsys thermalservice 2>/dev/null | while read -r line; do
        case $line in "Thermal Status: "*) echo "${line#Thermal Status: }"; break ;; esac
    done
}

conditions() {
    {
        dumpsys battery
        dumpsys thermalservice
        for file in /sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq \
            /sys/devices/system/cpu/cpu*/cpufreq/scaling_max_freq /sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq; do
            echo "$file $(cat "$file")"
        done
        echo "airplane_mode_on $(settings get global airplane_mode_on)"
    } > "$1" 2>/dev/null
}

# Sleeps so that canceling can wake it.
nap() {
    sleep "$1" &
    echo $! > nap
    wait $!
    rm -f nap
}

# How a setting is put back, written down before it is changed.
remember() {
    old=$(settings get "$1" "$2" 2>/dev/null)
    case $old in
        "" | null) echo "settings delete $1 $2 > /dev/null || bad=1" ;;
        *) echo "settings put $1 $2 '$old' || bad=1" ;;
    esac >> restore.sh
}

prepare() {
    remember global stay_on_while_plugged_in
    settings put global stay_on_while_plugged_in 15 2>/dev/null
    # WAKEUP: it does nothing where the screen is on.
    input keyevent 224 2>/dev/null
    wm dismiss-keyguard 2>/dev/null
    if [ "$AIRPLANE" = 1 ] && [ "$(settings get global airplane_mode_on 2>/dev/null)" != 1 ]; then
        echo "cmd connectivity airplane-mode disable || bad=1" >> restore.sh
        cmd connectivity airplane-mode enable
        [ "$(settings get global airplane_mode_on)" = 1 ]
    fi
}

put_back() {
    [ -e restore.sh ] && [ ! -e restored ] || return 0
    bad=0
    . ./restore.sh
    if [ "$bad" = 0 ]; then
        touch restored
        rm -f not_restored
    else
        touch not_restored
    fi
}

finish() {
    put_back
    [ "$(cat "$ROOT/lease/owner" 2>/dev/null)" = "$KEY" ] && rm -rf "$ROOT/lease"
    echo ended > words
    touch ended
}
trap finish EXIT
trap 'exit 1' TERM INT

# Waits until the phone is charged and cool; otherwise says why not.
ready() {
    waited=0
    while [ ! -e cancel ]; do
        level=$(field level) heat=$(field temperature) status=$(thermal_status) why=
        # A board without a battery reports a level and a temperature all the same.
        [ "$(field present)" = false ] && level='' heat=''
        [ "${level:-100}" -lt "$MIN_BATTERY" ] && why="battery at $level %, below $MIN_BATTERY %"
        [ "${heat:-0}" -gt "$MAX_HEAT" ] && why="battery at ${heat%?}.${heat#"${heat%?}"} C, above ${MAX_HEAT%?} C"
        [ "${status:-0}" -ge 2 ] && why="thermal status $status"
        [ -z "$why" ] && return 0
        echo "waiting: $why" > words
        if [ "$waited" -ge "$PATIENCE" ]; then echo "$why" > "$D/not_ready"; return 1; fi
        nap "$PAUSE"
        waited=$((waited + PAUSE))
    done
    return 1
}

# Since the last job on this phone, of whatever farm run.
cool_down() {
    last=$(cat "$ROOT/last_end" 2>/dev/null)
    [ "$COOL_DOWN" != 0 ] && [ -n "$last" ] || return 0
    rest=$((last + COOL_DOWN - $(date +%s)))
    # The clock of the phone may have been set.
    [ "$rest" -gt "$COOL_DOWN" ] && rest=$COOL_DOWN
    if [ "$rest" -gt 0 ]; then echo "cooling down for $rest s" > words; nap "$rest"; fi
}

start() {
    D=entries/$1
    [ -e cancel ] && return 1
    mkdir -p "$D"
    cool_down
    ready || return 1
    echo "running $(($1 + 1)) of $COUNT" > words
    touch "$D/begun"
}

# A file for the job from the store of files: blob, target. It counts only if its bytes are right.
place() {
    mkdir -p "${2%/*}"
    rm -f "$2"
    ln "$ROOT/blobs/$1" "$2" 2>/dev/null || cp "$ROOT/blobs/$1" "$2" || return 1
    chmod 755 "$2"
    sum=$(sha256sum "$2") && [ "${sum%% *}" = "$1" ] && return 0
    echo "$2" > "$D/damaged"
    rm -f "$ROOT/blobs/$1"
    return 1
}

# The log is read from a line of our own on: a second may also hold the end of the job before.
clock_on() {
    conditions "$D/before"
    since=$(date '+%m-%d %H:%M:%S.000')
    mark="begin $KEY $D"
    log -p i -t windtunnel "$mark" 2>/dev/null
    begun=$(date +%s)
}

since_mark() {
    line=$(grep -n -F "$mark" "$1" 2>/dev/null | head -n 1)
    line=${line%%:*}
    tail -n "+$((${line:-0} + 1))" "$1"
}

clock_off() {
    date +%s > "$ROOT/last_end"
    echo $(($(cat "$ROOT/last_end") - begun)) > "$D/seconds"
    conditions "$D/after"
}

# The log of the system since the start: it reports crashes and kills.
system_log() {
    logcat -d -v threadtime -b main,system,crash -T "$since" > "$D/logcat.all" 2>/dev/null ||
        logcat -d -v threadtime -T "$since" > "$D/logcat.all" 2>/dev/null
    since_mark "$D/logcat.all" > "$D/logcat"
    rm -f "$D/logcat.all"
}

# The log while an app runs, into a file; stop_reading leaves the part since the start.
read_log() {
    logcat -v threadtime -T "$since" > "$D/log.all" 2>/dev/null &
    reader=$!
}

stop_reading() {
    kill $reader
    since_mark "$D/log.all" > "$D/log"
    rm -f "$D/log.all"
}

answer() {
    echo "$1" > "$D/rc.new" && mv "$D/rc.new" "$D/rc"
}

# Waits for process $2, at most $1 seconds.
watch() {
    echo "$2" > pid
    (
        sleep "$1" &
        timer=$!
        trap 'kill $timer; exit 0' TERM
        wait $timer
        touch "$D/timed_out"
        kill -9 "$2"
    ) > /dev/null 2>&1 &
    dog=$!
    wait "$2"
    code=$?
    kill $dog 2>/dev/null
    rm -f pid
    clock_off
    [ $code = 0 ] || system_log
}

install() {
    said=$(pm install -r -t "$1" 2>&1)
    case $said in
        *INSTALL_FAILED_UPDATE_INCOMPATIBLE* | *INSTALL_FAILED_VERSION_DOWNGRADE*)
            pm uninstall "$2" > /dev/null 2>&1
            said=$(pm install -r -t "$1" 2>&1)
            ;;
    esac
    case $said in *Success*) return 0 ;; esac
    echo "$said" > "$D/install"
    return 1
}

# Follows an app that was started: seconds, package. Its process lives on after the benchmark, so its log says the end.
follow() {
    code=137
    seen=
    while :; do
        since_mark "$D/log.all" > "$D/log"
        if grep -q -e 'nference timings in us' -e 'Inference (avg)' "$D/log"; then code=0; nap 1; break; fi
        if grep -q 'Benchmarking failed' "$D/log"; then code=1; break; fi
        if [ -e cancel ]; then break; fi
        if pidof "$2" > /dev/null; then seen=1; elif [ -n "$seen" ]; then break; fi
        if [ $(($(date +%s) - begun)) -ge "$1" ]; then touch "$D/timed_out"; break; fi
        nap 1
    done
}

# Runs an app: seconds, package, component, then the words of the intent.
activity() {
    limit=$1 package=$2 component=$3
    shift 3
    am force-stop "$package"
    read_log
    am start -W -S -n "$component" "$@" > "$D/am" 2>&1
    if grep -q '^Error' "$D/am"; then code=1; else follow "$limit" "$package"; fi
    am force-stop "$package"
    stop_reading
    clock_off
    [ $code = 0 ] || system_log
}

# Runs the tests of an app: seconds, package, then the arguments.
instrumentation() {
    limit=$1 package=$2
    shift 2
    runner=$(pm list instrumentation | while read -r line; do
        case $line in *"(target=$package)"*) line=${line#instrumentation:}; echo "${line%% *}"; break ;; esac
    done)
    read_log
    am instrument -w "$@" "${runner:-$package.test/androidx.test.runner.AndroidJUnitRunner}" > "$D/am" 2>&1 &
    watch "$limit" $!
    nap 1
    am force-stop "$package"
    stop_reading
    grep -q '^OK (' "$D/am" || [ $code != 0 ] || code=1
}
