// The version of the monitor; the same as that of the other distributions.
#pragma once

#define WINDTUNNEL_MONITOR_VERSION "0.3.0"
