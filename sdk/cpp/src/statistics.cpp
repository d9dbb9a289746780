#include "statistics.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace windtunnel {
namespace {

constexpr std::size_t block_size = 64;  // one word of signs
constexpr std::size_t max_sample = 1024;
constexpr std::uint64_t seed = 0x57494E4454554E4Eull;
constexpr std::uint64_t step = 0x9E3779B97F4A7C15ull;

// splitmix64 at position j of the sequence.
inline std::uint64_t h(std::uint64_t j) {
  std::uint64_t z = seed + (j + 1) * step;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

float half_to_float(std::uint16_t half) {
  // Shifting the exponent into place leaves it 112 too small; the product also makes the subnormal ones right.
  std::uint32_t bits = static_cast<std::uint32_t>(half & 0x7FFF) << 13;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  value *= 0x1p112f;
  std::memcpy(&bits, &value, sizeof bits);
  if ((half & 0x7C00) == 0x7C00) bits |= 0x7F800000;
  bits |= static_cast<std::uint32_t>(half & 0x8000) << 16;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// In what a type is added: every value of it is exact there.
template <class T>
using Wide = std::conditional_t<sizeof(T) <= 2 || std::is_same_v<T, float>, float, double>;

template <class T>
Wide<T> widen(T value) {
  if constexpr (std::is_same_v<T, Half>) return half_to_float(value.bits);
  else return static_cast<Wide<T>>(value);
}

// Copies values into an aligned block of the type in which they are added.
template <class T>
void load(const unsigned char* from, std::size_t count, Wide<T>* block) {
  if constexpr (std::is_same_v<T, Wide<T>>) {
    std::memcpy(block, from, count * sizeof(T));
  } else {
    T values[block_size];
    std::memcpy(values, from, count * sizeof(T));
    for (std::size_t i = 0; i < count; ++i) block[i] = widen<T>(values[i]);
  }
}

float stored(double figure) {
  return static_cast<float>(std::clamp<double>(figure, -FLT_MAX, FLT_MAX));
}

// What one pass gives: over blocks of 64 values.
struct Sums {
  std::uint64_t non_finite = 0;
  double sum = 0;
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  // Sum s of the projection is ring[s] + ring[s + 16]: lane l of block b adds to place turn(b) + l.
  double ring[2 * max_projection] = {};
};
inline std::size_t turn(std::uint64_t block) { return (block + block / 16) % max_projection; }

template <class W>
void add_exactly(const W* block, std::size_t count, std::uint64_t number, Sums& into) {
  const std::uint64_t signs = h(number);
  for (std::size_t i = 0; i < count; ++i) {
    const double value = block[i];
    if (!std::isfinite(value)) {
      ++into.non_finite;
      continue;
    }
    into.sum += value;
    into.min = std::min(into.min, value);
    into.max = std::max(into.max, value);
    // Of fewer than 16 values there is one block, number 0, and value i is sum i.
    into.ring[turn(number) + i % max_projection] += (signs >> i & 1) ? -value : value;
  }
}

// Four floats at once, by the vector types that g++ and clang share: SSE2 and NEON without intrinsics.
typedef float Floats __attribute__((vector_size(16)));
typedef std::int32_t Bits __attribute__((vector_size(16)));
typedef double Doubles __attribute__((vector_size(32)));

struct SignTable {
  Bits of[16];
};
constexpr SignTable make_signs() {
  constexpr std::int32_t minus = std::numeric_limits<std::int32_t>::min();
  SignTable table{};
  for (int nibble = 0; nibble < 16; ++nibble)
    table.of[nibble] = Bits{nibble & 1 ? minus : 0, nibble & 2 ? minus : 0, nibble & 4 ? minus : 0, nibble & 8 ? minus : 0};
  return table;
}
const SignTable sign_table = make_signs();

inline Floats lesser(Floats a, Floats b) { return a < b ? a : b; }
inline Floats greater(Floats a, Floats b) { return a > b ? a : b; }

struct Extremes {
  Floats low, high;
};

// A whole block in float32 sums of at most 16 values. Returns false, and changes nothing, if one value or a sum is not finite.
inline bool add_block(const float* block, std::uint64_t number, Extremes& extremes, Sums& into) {
  const std::uint64_t signs = h(number);
  Floats sums[4] = {}, signed_sums[4] = {};
  Floats low = extremes.low, high = extremes.high;
  const auto add = [&](std::size_t lane, std::size_t at) {
    Floats value;
    std::memcpy(&value, block + at, sizeof value);
    sums[lane] += value;
    signed_sums[lane] += reinterpret_cast<Floats>(reinterpret_cast<Bits>(value) ^ sign_table.of[signs >> at & 15]);
    low = lesser(value, low);
    high = greater(value, high);
  };
  for (std::size_t at = 0; at < block_size; at += 16) {
    add(0, at);  // written out: a compiler that does not unroll at -O2 keeps the sums in memory otherwise
    add(1, at + 4);
    add(2, at + 8);
    add(3, at + 12);
  }
  const Floats all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  const double total = (static_cast<double>(all[0]) + all[1]) + (static_cast<double>(all[2]) + all[3]);
  if (!std::isfinite(total)) return false;
  extremes = {low, high};
  into.sum += total;
  double* const ring = into.ring + turn(number);
  const auto turned = [&](std::size_t lane) {
    Doubles sum;
    std::memcpy(&sum, ring + 4 * lane, sizeof sum);
    sum += __builtin_convertvector(signed_sums[lane], Doubles);
    std::memcpy(ring + 4 * lane, &sum, sizeof sum);
  };
  turned(0);
  turned(1);
  turned(2);
  turned(3);
  return true;
}

template <class T>
Sums add_all(const unsigned char* values, std::uint64_t count) {
  Sums into;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  Extremes extremes{Floats{} + infinity, Floats{} - infinity};
  alignas(16) Wide<T> block[block_size];
  for (std::uint64_t at = 0; at < count; at += block_size) {
    const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(block_size, count - at));
    load<T>(values + at * sizeof(T), here, block);
    if constexpr (std::is_same_v<Wide<T>, float>) {
      if (here == block_size && add_block(block, at / block_size, extremes, into)) continue;
    }
    add_exactly(block, here, at / block_size, into);
  }
  for (int i = 0; i < 4; ++i) {
    into.min = std::min<double>(into.min, extremes.low[i]);
    into.max = std::max<double>(into.max, extremes.high[i]);
  }
  return into;
}

// Sum of the squared distances from the mean, in float32 sums of 16 values: right where the squares are far from the
// ends of float32's range.
double squares_fast(const float* block, std::size_t count, float mean) {
  if (count < block_size) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += (static_cast<double>(block[i]) - mean) * (static_cast<double>(block[i]) - mean);
    return sum;
  }
  Floats sums[4] = {};
  const Floats center = Floats{} + mean;
  const auto add = [&](std::size_t lane, std::size_t at) {
    Floats value;
    std::memcpy(&value, block + at, sizeof value);
    value -= center;
    sums[lane] += value * value;
  };
  for (std::size_t at = 0; at < block_size; at += 16) {
    add(0, at);
    add(1, at + 4);
    add(2, at + 8);
    add(3, at + 12);
  }
  const Floats all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return (static_cast<double>(all[0]) + all[1]) + (static_cast<double>(all[2]) + all[3]);
}

template <class W>
double squares_exact(const W* block, std::size_t count, double mean) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double distance = static_cast<double>(block[i]) - mean;
    if (std::isfinite(distance)) sum += distance * distance;
  }
  return sum;
}

template <class T>
double deviation(const unsigned char* values, std::uint64_t count, const Sums& sums, double mean) {
  const auto finite = static_cast<double>(count - sums.non_finite);
  const double largest = std::max(std::fabs(sums.min), std::fabs(sums.max));
  const bool fast = sums.non_finite == 0 && largest > 1e-12 && largest < 1e15;
  const auto center = static_cast<float>(mean);
  double squares = 0;
  alignas(16) Wide<T> block[block_size];
  for (std::uint64_t at = 0; at < count; at += block_size) {
    const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(block_size, count - at));
    load<T>(values + at * sizeof(T), here, block);
    if constexpr (std::is_same_v<Wide<T>, float>) {
      if (fast) {
        squares += squares_fast(block, here, center);
        continue;
      }
    }
    squares += squares_exact(block, here, mean);
  }
  double variance = squares / finite;
  if (std::is_same_v<Wide<T>, float> && fast) variance -= (mean - center) * (mean - center);
  return std::sqrt(std::max(variance, 0.0));
}

// Order of floats as order of unsigned integers.
inline std::uint32_t sortable(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

inline float unsortable(std::uint32_t key) {
  const std::uint32_t bits = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Sorts by bytes from the lowest; the result is in `keys`.
void sort_keys(std::uint32_t* keys, std::size_t count) {
  std::uint16_t starts[4][256] = {};
  for (std::size_t i = 0; i < count; ++i)
    for (int byte = 0; byte < 4; ++byte) ++starts[byte][keys[i] >> (8 * byte) & 255];
  std::uint32_t other[max_sample];
  std::uint32_t *from = keys, *to = other;
  for (int byte = 0; byte < 4; ++byte) {
    auto& start = starts[byte];
    if (start[keys[0] >> (8 * byte) & 255] == count) continue;  // the byte is the same in all
    std::uint16_t sum = 0;
    for (auto& one : start) {
      const std::uint16_t size = one;
      one = sum;
      sum = static_cast<std::uint16_t>(sum + size);
    }
    for (std::size_t i = 0; i < count; ++i) to[start[from[i] >> (8 * byte) & 255]++] = from[i];
    std::swap(from, to);
  }
  if (from != keys) std::memcpy(keys, from, count * sizeof *keys);
}

template <class T>
void quantiles_of(const unsigned char* values, std::uint64_t count, Statistics& into) {
  std::uint32_t keys[max_sample];
  std::size_t size = 0;
  const auto take = [&](std::uint64_t index) {
    T value;
    std::memcpy(&value, values + index * sizeof(T), sizeof value);
    const double wide = widen<T>(value);
    if (std::isfinite(wide)) keys[size++] = sortable(stored(wide));
  };
  if (count <= max_sample) {
    for (std::uint64_t i = 0; i < count; ++i) take(i);
  } else {
    std::uint64_t begin = 0;
    for (std::uint64_t j = 0; j < max_sample; ++j) {
      const std::uint64_t end = (j + 1) * count / max_sample;
      take(begin + h(j) % (end - begin));
      begin = end;
    }
  }
  if (size == 0) return;
  sort_keys(keys, size);
  constexpr std::size_t percents[max_quantiles] = {1, 5, 10, 25, 50, 75, 90, 95, 99};
  for (std::size_t i = 0; i < max_quantiles; ++i) into.quantiles[i] = unsortable(keys[(percents[i] * (size - 1) + 50) / 100]);
  into.quantiles_size = max_quantiles;
}

template <class T>
Statistics compute(const unsigned char* values, std::uint64_t count) {
  Statistics made;
  made.count = count;
  if (count == 0) return made;
  const Sums sums = add_all<T>(values, count);
  made.non_finite = sums.non_finite;
  made.projection_size = static_cast<std::uint8_t>(std::min<std::uint64_t>(count, max_projection));
  for (std::size_t i = 0; i < max_projection; ++i) made.projection[i] = stored(sums.ring[i] + sums.ring[i + max_projection]);
  if (sums.non_finite == count) return made;
  const double mean = sums.sum / static_cast<double>(count - sums.non_finite);
  made.min = stored(sums.min);
  made.max = stored(sums.max);
  made.mean = stored(mean);
  made.std = stored(deviation<T>(values, count, sums, mean));
  quantiles_of<T>(values, count, made);
  return made;
}

}  // namespace

Statistics statistics_of(const void* values, Element element, std::uint64_t count) noexcept {
  const auto* bytes = static_cast<const unsigned char*>(values);
  switch (element) {
    case Element::float32: return compute<float>(bytes, count);
    case Element::float16: return compute<Half>(bytes, count);
    case Element::float64: return compute<double>(bytes, count);
    case Element::boolean:
    case Element::uint8: return compute<std::uint8_t>(bytes, count);
    case Element::int8: return compute<std::int8_t>(bytes, count);
    case Element::uint16: return compute<std::uint16_t>(bytes, count);
    case Element::int16: return compute<std::int16_t>(bytes, count);
    case Element::int32: return compute<std::int32_t>(bytes, count);
    case Element::int64: return compute<std::int64_t>(bytes, count);
    case Element::text: break;
  }
  return {};
}

std::size_t element_bytes(Element element) noexcept {
  switch (element) {
    case Element::uint8:
    case Element::int8:
    case Element::boolean:
    case Element::text: return 1;
    case Element::float16:
    case Element::uint16:
    case Element::int16: return 2;
    case Element::float32:
    case Element::int32: return 4;
    case Element::float64:
    case Element::int64: return 8;
  }
  return 0;
}

}  // namespace windtunnel
