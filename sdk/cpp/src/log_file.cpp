#include "log_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "edge_schema.h"
#include "version.h"

namespace windtunnel {
namespace {

constexpr char magic[] = "\x89MCAP0\r\n";
constexpr std::size_t magic_size = 8;
constexpr std::size_t record_head = 9;    // opcode and length
constexpr std::size_t message_head = 31;  // of a Message record, before its data
constexpr std::size_t index_entry = 128;  // more than a ChunkIndex record has
constexpr std::time_t in_use_s = 60;      // a file that was written since may still be in use
constexpr std::size_t max_chunks = 4096;  // in a file: their index is kept in memory

enum Opcode : char {
  header = 1, footer = 2, schema = 3, channel = 4, message = 5, chunk = 6, message_index = 7, chunk_index = 8,
  statistics = 11, metadata = 12, metadata_index = 13, data_end = 15,
};

// CRC-32 of zlib, eight bytes at a step.
constexpr auto make_crc_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);
    tables[0][i] = crc;
  }
  for (std::size_t i = 0; i < 256; ++i)
    for (std::size_t k = 1; k < 8; ++k) tables[k][i] = (tables[k - 1][i] >> 8) ^ tables[0][tables[k - 1][i] & 255];
  return tables;
}
constexpr auto crc_tables = make_crc_tables();

std::uint32_t crc_more(std::uint32_t crc, const void* from, std::size_t count) {
  const auto* at = static_cast<const std::uint8_t*>(from);
  crc = ~crc;
  for (; count >= 8; count -= 8, at += 8) {
    std::uint32_t low, high;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + 4, 4);
    low ^= crc;
    crc = crc_tables[7][low & 255] ^ crc_tables[6][low >> 8 & 255] ^ crc_tables[5][low >> 16 & 255] ^
          crc_tables[4][low >> 24] ^ crc_tables[3][high & 255] ^ crc_tables[2][high >> 8 & 255] ^
          crc_tables[1][high >> 16 & 255] ^ crc_tables[0][high >> 24];
  }
  for (; count; --count) crc = (crc >> 8) ^ crc_tables[0][(crc ^ *at++) & 255];
  return ~crc;
}

// Appends little-endian fields of records.
template <class T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& to, std::string_view text) {
  put(to, static_cast<std::uint32_t>(text.size()));
  to.append(text);
}
void put_record(std::string& to, Opcode opcode, std::string_view body) {
  to.push_back(opcode);
  put(to, static_cast<std::uint64_t>(body.size()));
  to.append(body);
}

constexpr Channel channels[] = {Channel::frame, Channel::sensor};
constexpr std::string_view schema_names[] = {"windtunnel.v1.EdgeFrame", "windtunnel.v1.SensorReading"};
constexpr std::string_view topics[] = {"/frame", "/sensor"};

std::size_t place(Channel of) { return static_cast<std::size_t>(of) - 1; }

void put_schema(std::string& to, Channel of) {
  std::string body;
  put(body, static_cast<std::uint16_t>(of));
  put_text(body, schema_names[place(of)]);
  put_text(body, "protobuf");
  put_text(body, {reinterpret_cast<const char*>(edge_schema), sizeof edge_schema});
  put_record(to, schema, body);
}
void put_channel(std::string& to, Channel of) {
  std::string body;
  put(body, static_cast<std::uint16_t>(of));
  put(body, static_cast<std::uint16_t>(of));  // its schema has the same number
  put_text(body, topics[place(of)]);
  put_text(body, "protobuf");
  put(body, std::uint32_t{0});
  put_record(to, channel, body);
}

std::array<char, message_head> head_of(const Message& of) {
  std::array<char, message_head> head{};
  const std::uint64_t length = message_head - record_head + of.size + of.more_size;
  head[0] = Opcode::message;
  std::memcpy(&head[1], &length, 8);
  std::memcpy(&head[9], &of.channel, 2);
  std::memcpy(&head[11], &of.sequence, 4);
  std::memcpy(&head[15], &of.time_ns, 8);
  std::memcpy(&head[23], &of.time_ns, 8);
  return head;
}
std::size_t record_size(const Message& of) { return message_head + of.size + of.more_size; }

// <session>-<number>.mcap, a session as 20261130T153000-<process>-<4 hex digits>.
bool is_log(const std::string& name) {
  constexpr std::string_view end = ".mcap";
  if (name.size() < 34 || name.compare(name.size() - end.size(), end.size(), end) != 0) return false;
  return name[8] == 'T' && name[15] == '-' && name[name.size() - 12] == '-' && name[name.size() - 17] == '-' &&
         std::all_of(name.begin(), name.begin() + 8, [](unsigned char c) { return std::isdigit(c) != 0; });
}

int make_folders(const std::string& folder) {
  if (mkdir(folder.c_str(), 0777) == 0 || errno == EEXIST) return 0;
  if (errno != ENOENT) return errno;
  const auto cut = folder.find_last_of('/');
  if (cut == std::string::npos || cut == 0) return errno;
  if (const int error = make_folders(folder.substr(0, cut))) return error;
  return mkdir(folder.c_str(), 0777) == 0 || errno == EEXIST ? 0 : errno;
}

}  // namespace

// Writes at an offset through a small buffer and remembers the first error.
class LogFiles::Out {
 public:
  Out(int file, std::uint64_t offset) : file_(file), offset_(offset) {}

  void put(const void* from, std::size_t count) {
    if (count > sizeof buffer_ - used_) flush();
    if (count > sizeof buffer_) return write(from, count);
    if (count) std::memcpy(buffer_ + used_, from, count);
    used_ += count;
  }
  void put(std::string_view bytes) { put(bytes.data(), bytes.size()); }
  // Returns 0 or the errno of the first write that failed.
  int flush() {
    write(buffer_, used_);
    used_ = 0;
    return error_;
  }
  std::uint64_t offset() const { return offset_ + used_; }

 private:
  void write(const void* from, std::size_t count) {
    const auto* at = static_cast<const char*>(from);
    while (count && !error_) {
      const auto done = pwrite(file_, at, count, static_cast<off_t>(offset_));
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) {
        error_ = done < 0 ? errno : ENOSPC;
        return;
      }
      at += done;
      count -= static_cast<std::size_t>(done);
      offset_ += static_cast<std::uint64_t>(done);
    }
  }

  int file_;
  std::uint64_t offset_;
  std::size_t used_ = 0;
  int error_ = 0;
  char buffer_[8192];
};

LogFiles::LogFiles(std::string folder, std::string session, std::uint64_t file_bytes, std::uint64_t disk_bytes)
    : folder_(std::move(folder)),
      session_(std::move(session)),
      file_bytes_(std::min(file_bytes, disk_bytes / 2)),  // an old file can go while a new one grows
      disk_bytes_(disk_bytes) {}

std::string LogFiles::path(std::uint32_t number) const {
  char digits[16];
  std::snprintf(digits, sizeof digits, "-%06u", static_cast<unsigned>(number));
  return folder_ + "/" + session_ + digits + ".mcap";
}

int LogFiles::begin_file() {
  if (const int error = make_folders(folder_)) return error;
  do {
    file_ = open(path(++number_).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (file_ < 0 && errno == EEXIST);
  if (file_ >= 0) return 0;
  --number_;
  return errno;
}

// A metadata record at the end of what is about to be written.
void LogFiles::put_metadata(const std::string& name, const Texts& texts, std::string& to) {
  std::string body, pairs;
  put_text(body, name);
  for (const auto& [key, value] : texts) {
    put_text(pairs, key);
    put_text(pairs, value);
  }
  put_text(body, pairs);
  const std::uint64_t begin = to.size();
  put_record(to, metadata, body);
  metadata_places_.push_back({name, offset_ + begin, to.size() - begin});
}

// Schema and channel, once per file; before them what a file begins with.
int LogFiles::write_head(bool sensors) {
  std::string head;
  if (offset_ == 0) {
    head.assign(magic, magic_size);
    std::string body;
    put_text(body, "windtunnel.edge/1");
    put_text(body, "windtunnel-monitor cpp " WINDTUNNEL_MONITOR_VERSION);
    put_record(head, header, body);
    metadata_places_.clear();
    put_metadata("windtunnel.device", metadata_, head);
  }
  const bool needed[] = {!has_schema_[0], sensors && !has_schema_[1]};
  for (const Channel one : channels) {
    if (!needed[place(one)]) continue;
    put_schema(head, one);
    put_channel(head, one);
  }
  Out out(file_, offset_);
  out.put(head);
  if (const int error = out.flush()) return error;
  offset_ = out.offset();
  for (int i = 0; i < 2; ++i) has_schema_[i] = has_schema_[i] || needed[i];
  return 0;
}

// Ends or deletes files until so many bytes fit into the bounds.
int LogFiles::make_room(std::uint64_t bytes) {
  // The summary: two schemas with their channels, figures, and an index entry of every chunk.
  const std::uint64_t rest = bytes + 2 * sizeof edge_schema + 1024 + (chunks_.size() + 1) * index_entry;
  if (chunks_.size() >= max_chunks || (!chunks_.empty() && offset_ + rest > file_bytes_)) end_file();
  if (file_ < 0) look_at_others();
  const auto used = [&] { return ended_bytes_ + busy_bytes_ + offset_ + rest; };
  while (used() > disk_bytes_ && !ended_.empty()) {
    unlink((folder_ + "/" + ended_.front().first).c_str());
    ended_bytes_ -= ended_.front().second;
    ended_.pop_front();
  }
  return used() > disk_bytes_ ? over_disk_bound : 0;
}

// All logs in the folder count, so that an app that starts often stays within its bound.
void LogFiles::look_at_others() {
  ended_.clear();
  ended_bytes_ = busy_bytes_ = 0;
  DIR* const folder = opendir(folder_.c_str());
  if (!folder) return;
  const std::time_t now = std::time(nullptr);
  while (const dirent* const entry = readdir(folder)) {
    const std::string name = entry->d_name;
    struct stat facts {};
    if (!is_log(name) || stat((folder_ + "/" + name).c_str(), &facts) != 0) continue;
    const auto bytes = static_cast<std::uint64_t>(facts.st_size);
    const bool ours = name.compare(0, session_.size(), session_) == 0;
    if (!ours && facts.st_mtime > now - in_use_s) {
      busy_bytes_ += bytes;
    } else {
      ended_.emplace_back(name, bytes);
      ended_bytes_ += bytes;
    }
  }
  closedir(folder);
  std::sort(ended_.begin(), ended_.end());  // names begin with the time of their session
}

std::uint64_t LogFiles::forget_deleted() {
  struct stat facts {};
  if (file_ < 0 || (fstat(file_, &facts) == 0 && facts.st_nlink > 0)) return 0;
  const std::uint64_t frames = counts_[0];
  ::close(file_);
  file_ = -1;
  end_file();
  return frames;
}

int LogFiles::write_chunk(const Message* messages, std::size_t count) {
  Chunk made{~0ull, 0, 0, 0, 0, {}, 0};
  std::uint32_t crc = 0;
  std::size_t sizes[2] = {};
  for (std::size_t i = 0; i < count; ++i) {
    const Message& one = messages[i];
    const auto head = head_of(one);
    crc = crc_more(crc_more(crc_more(crc, head.data(), head.size()), one.data, one.size), one.more, one.more_size);
    made.records += record_size(one);
    made.begin_ns = std::min(made.begin_ns, one.time_ns);
    made.end_ns = std::max(made.end_ns, one.time_ns);
    ++sizes[place(one.channel)];
  }
  const std::uint64_t heads = 3 * sizeof edge_schema + 4096;  // more than write_head writes, with usual metadata
  if (const int error = make_room(made.records + 16 * count + heads)) return error;
  if (file_ < 0) {
    if (const int error = begin_file()) return error;
  }
  int error = offset_ == 0 || (sizes[1] && !has_schema_[1]) ? write_head(sizes[1] != 0) : 0;

  Out out(file_, offset_);
  made.offset = offset_;
  std::string head;
  put(head, made.begin_ns);
  put(head, made.end_ns);
  put(head, made.records);
  put(head, crc);
  put_text(head, "");
  put(head, made.records);
  std::string record(1, Opcode::chunk);
  put(record, head.size() + made.records);
  out.put(record + head);
  for (std::size_t i = 0; i < count && !error; ++i) {
    const auto bytes = head_of(messages[i]);
    out.put(bytes.data(), bytes.size());
    out.put(messages[i].data, messages[i].size);
    out.put(messages[i].more, messages[i].more_size);
  }
  made.length = out.offset() - made.offset;
  for (const Channel one : channels) {
    if (!sizes[place(one)]) continue;
    std::string body;
    put(body, one);
    put(body, static_cast<std::uint32_t>(16 * sizes[place(one)]));
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < count; at += record_size(messages[i++])) {
      if (messages[i].channel != one) continue;
      put(body, messages[i].time_ns);
      put(body, at);
    }
    made.index_offsets[place(one)] = out.offset();
    std::string index;
    put_record(index, message_index, body);
    made.index_length += index.size();
    out.put(index);
  }
  if (!error) error = out.flush();
  if (error) {
    drop_tail();
    if (error == EFBIG) end_file();  // this file may not grow; a new one may
    return error;
  }
  offset_ = out.offset();
  chunks_.push_back(made);
  for (int i = 0; i < 2; ++i) counts_[i] += sizes[i];
  return 0;
}

// Half a record that was written goes, so that the file stays whole records. If that fails, the next write covers it.
void LogFiles::drop_tail() {
  if (ftruncate(file_, static_cast<off_t>(offset_)) != 0) return;
}

std::string LogFiles::summary() const {
  std::string made, body;
  for (const Channel one : channels)
    if (has_schema_[place(one)]) put_schema(made, one);
  for (const Channel one : channels)
    if (has_schema_[place(one)]) put_channel(made, one);
  std::uint64_t begin_ns = chunks_.empty() ? 0 : ~0ull, end_ns = 0;
  for (const auto& one : chunks_) {
    begin_ns = std::min(begin_ns, one.begin_ns);
    end_ns = std::max(end_ns, one.end_ns);
  }
  const auto kinds = static_cast<std::uint32_t>(has_schema_[0] + has_schema_[1]);
  put(body, counts_[0] + counts_[1]);
  put(body, static_cast<std::uint16_t>(kinds));
  put(body, kinds);
  put(body, std::uint32_t{0});
  put(body, static_cast<std::uint32_t>(metadata_places_.size()));
  put(body, static_cast<std::uint32_t>(chunks_.size()));
  put(body, begin_ns);
  put(body, end_ns);
  put(body, 10 * kinds);
  for (const Channel one : channels) {
    if (!has_schema_[place(one)]) continue;
    put(body, one);
    put(body, counts_[place(one)]);
  }
  put_record(made, statistics, body);
  for (const auto& one : chunks_) {
    body.clear();
    put(body, one.begin_ns);
    put(body, one.end_ns);
    put(body, one.offset);
    put(body, one.length);
    std::string offsets;
    for (const Channel kind : channels) {
      if (!one.index_offsets[place(kind)]) continue;
      put(offsets, kind);
      put(offsets, one.index_offsets[place(kind)]);
    }
    put_text(body, offsets);
    put(body, one.index_length);
    put_text(body, "");
    put(body, one.records);
    put(body, one.records);
    put_record(made, chunk_index, body);
  }
  for (const auto& one : metadata_places_) {
    body.clear();
    put(body, one.offset);
    put(body, one.length);
    put_text(body, one.name);
    put_record(made, metadata_index, body);
  }
  return made;
}

void LogFiles::end_file() {
  if (file_ >= 0 && offset_ > 0) {
    Out out(file_, offset_);
    std::string end;
    put_record(end, data_end, std::string(4, '\0'));
    out.put(end);
    const std::uint64_t summary_start = out.offset();
    std::string rest = summary();
    rest.push_back(footer);
    put(rest, std::uint64_t{20});
    put(rest, summary_start);
    put(rest, std::uint64_t{0});
    put(rest, crc_more(0, rest.data(), rest.size()));
    rest.append(magic, magic_size);
    out.put(rest);
    // Without room for the summary the file ends like that of a killed app: readers go through it in order.
    if (out.flush() == 0) offset_ = out.offset();
    else drop_tail();
    ended_.emplace_back(path(number_).substr(folder_.size() + 1), offset_);
    ended_bytes_ += offset_;
  } else if (file_ >= 0) {
    unlink(path(number_).c_str());  // not one record could be written
  }
  if (file_ >= 0) ::close(file_);
  file_ = -1;
  offset_ = 0;
  has_schema_[0] = has_schema_[1] = false;
  counts_[0] = counts_[1] = 0;
  metadata_places_.clear();
  chunks_.clear();
}

void LogFiles::close(const Texts& end) {
  if (file_ >= 0 && offset_ > 0) {
    std::string last;
    put_metadata("windtunnel.end", end, last);
    Out out(file_, offset_);
    out.put(last);
    if (out.flush() == 0) {
      offset_ = out.offset();
    } else {
      metadata_places_.pop_back();
      drop_tail();
    }
  }
  end_file();
}

}  // namespace windtunnel
