// Statistics of an array, as docs/edge-log.md defines them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "windtunnel/monitor.h"

namespace windtunnel {

inline constexpr std::size_t max_quantiles = 9;
inline constexpr std::size_t max_projection = 16;

struct Statistics {
  std::uint64_t count = 0;
  std::uint64_t non_finite = 0;
  float min = 0, max = 0, mean = 0, std = 0;
  std::array<float, max_quantiles> quantiles{};
  std::array<float, max_projection> projection{};
  std::uint8_t quantiles_size = 0;   // 9, or 0 without a finite value
  std::uint8_t projection_size = 0;  // min(count, 16)
};

// The statistics of an array of numbers. `values` need not be aligned.
Statistics statistics_of(const void* values, Element element, std::uint64_t count) noexcept;

// Bytes of a value; 1 for text, 0 for an unknown type.
std::size_t element_bytes(Element element) noexcept;

}  // namespace windtunnel
