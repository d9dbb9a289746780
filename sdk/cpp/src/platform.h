// All that differs between operating systems.
#pragma once

#include <cstdint>
#include <string>

namespace windtunnel::platform {

// Resident memory of this process in bytes; 0 where it cannot be read. Cheap enough for every frame.
std::uint64_t resident_bytes() noexcept;

// Makes the calling thread one that gives way to the app's threads.
void give_way() noexcept;

// The system's name and release, for example "Linux 6.1.0"; empty where it does not say.
std::string operating_system();

// The machine's kind, for example "aarch64".
std::string machine();

}  // namespace windtunnel::platform
