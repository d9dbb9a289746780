#!/bin/sh
# Runs the entries of a farm run on a device of AWS Device Farm, one after the other. An entry that fails does not stop
# the others. It runs on the test host, as a command of the test spec; the calls below its end are generated.
#
# Each entry has a folder in $DEVICEFARM_LOG_DIR/windtunnel. The file status has lines name=value, with the names stage,
# exit, seconds and dropped. What the job printed is in log.txt; what else went wrong is in detail.txt. The state of the
# device around the job is in before.txt and after.txt. The N-th path that was pulled is pulled/N.
set -u
files=$(cd "$(dirname "$0")" && pwd)/files
out=$DEVICEFARM_LOG_DIR/windtunnel
scratch=${TMPDIR:-/tmp}/windtunnel.$$
failed=0
# All artifacts are lost above 1 GB: what is pulled stops well before.
room_kb=716800
mkdir -p "$out" "$scratch"

on_device() {
  adb -s "$DEVICEFARM_DEVICE_UDID" "$@" < /dev/null
}

# note NAME VALUE
note() {
  printf '%s=%s\n' "$1" "$2" >> "$dir/status"
}

# fail STAGE MESSAGE: the entry ends here.
fail() {
  [ "$state" = ok ] || return 0
  state=failed
  failed=1
  printf '%s\n' "$2" >> "$dir/detail.txt"
  note stage "$1"
}

# Temperature of the battery in tenths of a degree; nothing if it is not known.
temperature() {
  on_device shell dumpsys battery 2> /dev/null | sed -n 's/.*temperature: *\([0-9][0-9]*\).*/\1/p' | head -n 1
}

# state_to NAME: writes what the device says of its battery, its heat and its clocks.
state_to() {
  on_device shell 'dumpsys battery; dumpsys thermalservice
for f in /sys/devices/system/cpu/cpu*/cpufreq/*_freq; do echo "$f $(cat "$f")"; done' > "$dir/$1.txt" 2> /dev/null
}

# cool SECONDS LIMIT: waits until the battery is not warmer than the limit, at most so long.
cool() {
  waited=0
  while [ "$waited" -lt "$1" ]; do
    now=$(temperature)
    [ -n "$now" ] && [ "$now" -gt "$2" ] || return 0
    sleep 5
    waited=$((waited + 5))
  done
}

# begin NAME
begin() {
  name=$1
  dir=$out/$1
  state=ok
  mkdir -p "$dir/pulled"
  : > "$dir/status"
  : > "$dir/log.txt"
  echo "[windtunnel] begin $name"
  is_alive || is_alive || fail device "adb does not see the device"
}

# is_alive: whether the device still answers.
is_alive() {
  timeout 30 adb -s "$DEVICEFARM_DEVICE_UDID" shell "echo alive" < /dev/null > /dev/null 2>&1
}

# quoted PATH: for the shell of the device.
quoted() {
  case "$1" in
    *[!A-Za-z0-9/._-]*) printf "'%s'" "$1" ;;
    *) printf '%s' "$1" ;;
  esac
}

# quick_hash PATH: what the device says.
quick_hash() {
  on_device shell "sha256sum $(quoted "$1")" 2> /dev/null | cut -c 1-64
}

# hash_on_device PATH: the sha256 of a file; through the host if the device has no sha256sum.
hash_on_device() {
  found=$(quick_hash "$1")
  case "$found" in
    *[!0-9a-f]* | "")
      rm -f "$scratch/back"
      on_device pull "$1" "$scratch/back" > /dev/null 2>&1
      found=$(sha256sum "$scratch/back" 2> /dev/null | cut -c 1-64)
      rm -f "$scratch/back"
      ;;
  esac
  printf '%s' "$found"
}

# push SHA256 TARGET MODE: a file of the package; verified on the device, and pushed again once.
push() {
  [ "$state" = ok ] || return 0
  there=$(quoted "$2")
  if [ "$(quick_hash "$2")" = "$1" ]; then
    on_device shell "chmod $3 $there" > /dev/null 2>&1
    return 0
  fi
  on_device shell "mkdir -p $(quoted "$(dirname "$2")")" > /dev/null 2>&1
  for try in 1 2; do
    if ! said=$(on_device push "$files/$1" "$2" 2>&1); then
      fail push "$2: $said"
      return 0
    fi
    found=$(hash_on_device "$2")
    if [ "$found" = "$1" ]; then
      on_device shell "chmod $3 $there" > /dev/null 2>&1
      return 0
    fi
  done
  fail verify "$2 has sha256 ${found:-unknown}, not $1"
}

# install SHA256: a package that Device Farm has not installed.
install() {
  [ "$state" = ok ] || return 0
  cp "$files/$1" "$scratch/app.apk"
  said=$(timeout 300 adb -s "$DEVICEFARM_DEVICE_UDID" install -r -g -t "$scratch/app.apk" < /dev/null 2>&1)
  case "$said" in
    *Success*) ;;
    *) fail install "$said" ;;
  esac
  rm -f "$scratch/app.apk"
}

# run SECONDS COMMAND: the job itself, in the shell of the device.
run() {
  [ "$state" = ok ] || return 0
  measure "$1" shell "$2"
}

# run_app SECONDS PACKAGE COMMAND: starts an app and waits until it has ended, or has printed its figures. Its log is
# that of the system.
run_app() {
  [ "$state" = ok ] || return 0
  on_device logcat -c > /dev/null 2>&1
  measure "$1" app "$3" "$2"
  on_device logcat -d > "$dir/logcat.txt" 2>&1
  cat "$dir/logcat.txt" >> "$dir/log.txt"
}

# measure SECONDS KIND COMMAND [PACKAGE]
#
# The shell of the device prints the exit status: if the device is unplugged, adb ends as if all had gone well.
measure() {
  state_to before
  began=$(date +%s)
  timeout -k 10 "$1" adb -s "$DEVICEFARM_DEVICE_UDID" shell "{ $3
} 2>&1; printf '\nwindtunnel-exit %s\n' \$?" < /dev/null > "$dir/log.txt" 2>&1
  ended=$?
  code=$(tail -n 1 "$dir/log.txt" | sed -n 's/^windtunnel-exit \([0-9][0-9]*\)[[:space:]]*$/\1/p')
  if [ -n "$code" ]; then
    without_last_line
    [ "$2" != app ] || [ "$code" != 0 ] || wait_for_app "$1" "$4"
  elif [ "$ended" = 124 ] || [ "$ended" = 137 ]; then
    code=timeout
  elif [ "$2" = shell ] && grep -q "Inference timings in us" "$dir/log.txt"; then
    # The benchmark had said all that it says.
    code=0
  else
    code=lost
  fi
  note seconds $(($(date +%s) - began))
  state_to after
  note exit "$code"
  case "$code" in
    0) ;;
    timeout) fail timeout "" ;;
    lost) fail device "adb lost the device while the job ran" ;;
    *) ended_badly ;;
  esac
}

# without_last_line: takes the exit status, and the line break before it, off the log.
without_last_line() {
  size=$(tail -n 1 "$dir/log.txt" | wc -c)
  head -c "-$((size + 1))" "$dir/log.txt" > "$scratch/log.txt"
  mv "$scratch/log.txt" "$dir/log.txt"
}

# ended_badly: a device that is gone is not the fault of the job.
ended_badly() {
  if is_alive; then
    on_device shell "logcat -d -t 2000" > "$dir/logcat.txt" 2>&1
    fail run ""
  else
    fail device "adb lost the device"
  fi
}

# wait_for_app SECONDS PACKAGE
wait_for_app() {
  idle=0
  while [ $(($(date +%s) - began)) -lt "$1" ]; do
    if on_device logcat -d 2> /dev/null | grep -q "Inference timings in us"; then
      return 0
    fi
    if [ -z "$(on_device shell "pidof $2" 2> /dev/null)" ]; then
      idle=$((idle + 1))
      # The app may not have begun yet.
      [ "$idle" -lt 3 ] || return 0
    fi
    sleep 1
  done
  on_device shell "am force-stop $2" > /dev/null 2>&1
  code=timeout
}

# pull NUMBER PATH: a file or folder that the job left; its absence is not a failure.
pull() {
  rm -rf "$scratch/pulled"
  on_device pull "$2" "$scratch/pulled" > /dev/null 2>&1 || return 0
  size=$(du -sk --apparent-size "$scratch/pulled" | cut -f 1)
  if [ "$size" -gt "$room_kb" ]; then
    note dropped "$1"
  else
    room_kb=$((room_kb - size))
    mv "$scratch/pulled" "$dir/pulled/$1"
  fi
}

# finish: the log also goes to the output of the test spec, in case the artifacts are lost.
finish() {
  [ "$state" != ok ] || note stage "done"
  echo "[windtunnel] status $name $(tr '\n' ' ' < "$dir/status")"
  echo "[windtunnel] log $name"
  head -c 1000000 "$dir/log.txt"
  echo
  echo "[windtunnel] end $name"
}

# leave: the last call.
leave() {
  rm -rf "$scratch"
  exit "$failed"
}
