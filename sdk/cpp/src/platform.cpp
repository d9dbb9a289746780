#include "platform.h"

#include <sys/utsname.h>

#if defined(__APPLE__)
#include <mach/mach.h>
#include <pthread/qos.h>
#else
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cstdlib>
#endif

namespace windtunnel::platform {

#if defined(__APPLE__)

std::uint64_t resident_bytes() noexcept {
  mach_task_basic_info facts{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  const auto done = task_info(mach_task_self(), MACH_TASK_BASIC_INFO, reinterpret_cast<task_info_t>(&facts), &count);
  return done == KERN_SUCCESS ? facts.resident_size : 0;
}

void give_way() noexcept { pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0); }

#else

// Linux and Android: the second number of /proc/self/statm, in pages.
std::uint64_t resident_bytes() noexcept {
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[128] = {};
  const auto read_bytes = read(file, text, sizeof text - 1);
  close(file);
  if (read_bytes <= 0) return 0;
  char* rest = nullptr;
  std::strtoull(text, &rest, 10);
  const auto pages = std::strtoull(rest, nullptr, 10);
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// Here a nice value is of a thread; 10 is Android's background priority.
void give_way() noexcept { setpriority(PRIO_PROCESS, 0, 10); }

#endif

std::string operating_system() {
  utsname facts{};
  if (uname(&facts) != 0) return {};
  return std::string(facts.sysname) + " " + facts.release;
}

std::string machine() {
  utsname facts{};
  return uname(&facts) == 0 ? facts.machine : std::string();
}

}  // namespace windtunnel::platform
