# Whether the script of the farm run in the folder $1 runs, in this boot of the phone.
alive() {
    pid=$(cat "$1/script.pid" 2>/dev/null)
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
    [ "$(cat "$1/boot" 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" ]
}
