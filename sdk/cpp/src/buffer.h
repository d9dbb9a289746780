// Growing memory for one message, and its protobuf fields.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "edge logs are little-endian, and so are the systems of phones");

namespace windtunnel {

// Bytes from malloc, without zeroing. Nothing throws; what does not fit is refused by `grow`.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  std::uint8_t* data() noexcept { return data_; }
  const std::uint8_t* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  std::size_t room() const noexcept { return capacity_ - size_; }
  void resize(std::size_t size) noexcept { size_ = size; }

  bool grow(std::size_t capacity) noexcept {
    auto* moved = static_cast<std::uint8_t*>(std::realloc(data_, capacity));
    if (!moved) return false;
    data_ = moved;
    capacity_ = capacity;
    return true;
  }

  // All below: the caller has made room.
  void bytes(const void* from, std::size_t count) noexcept {
    if (count) std::memcpy(data_ + size_, from, count);
    size_ += count;
  }
  void varint(std::uint64_t value) noexcept {
    while (value >= 0x80) {
      data_[size_++] = static_cast<std::uint8_t>(value | 0x80);
      value >>= 7;
    }
    data_[size_++] = static_cast<std::uint8_t>(value);
  }
  void field_varint(unsigned field, std::uint64_t value) noexcept {
    varint(field << 3);
    varint(value);
  }
  void field_float(unsigned field, float value) noexcept {
    varint(field << 3 | 5);
    bytes(&value, sizeof value);
  }
  void field_double(unsigned field, double value) noexcept {
    varint(field << 3 | 1);
    bytes(&value, sizeof value);
  }
  void field_bytes(unsigned field, const void* from, std::size_t count) noexcept {
    varint(field << 3 | 2);
    varint(count);
    bytes(from, count);
  }
  void field_text(unsigned field, std::string_view text) noexcept { field_bytes(field, text.data(), text.size()); }

  // A nested message: open(field) ... close(mark). Its length takes 5 bytes if that saves moving much.
  std::size_t open(unsigned field) noexcept {
    varint(field << 3 | 2);
    size_ += length_bytes;
    return size_;
  }
  void close(std::size_t mark) noexcept {
    const std::size_t length = size_ - mark;
    std::uint8_t* const at = data_ + mark - length_bytes;
    if (length < 0x4000) {
      const std::size_t used = length < 0x80 ? 1 : 2;
      std::memmove(at + used, data_ + mark, length);
      size_ = mark - length_bytes;
      varint(length);
      size_ += length;
      return;
    }
    for (std::size_t i = 0; i < length_bytes; ++i)
      at[i] = static_cast<std::uint8_t>((length >> (7 * i) & 0x7F) | (i + 1 < length_bytes ? 0x80 : 0));
  }

 private:
  static constexpr std::size_t length_bytes = 5;

  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace windtunnel
