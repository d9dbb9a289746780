// The files of an edge log: MCAP records, a ring of files, and what happens when a disk says no.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace windtunnel {

enum class Channel : std::uint16_t { frame = 1, sensor = 2 };

// A message, and what is appended to it when it is written.
struct Message {
  Channel channel;
  std::uint32_t sequence;
  std::uint64_t time_ns;
  const std::uint8_t* data;
  std::size_t size;
  const std::uint8_t* more = nullptr;
  std::size_t more_size = 0;
};

using Texts = std::vector<std::pair<std::string, std::string>>;

// Writes numbered files `<session>-<number>.mcap` to a folder. One thread uses it.
class LogFiles {
 public:
  LogFiles(std::string folder, std::string session, std::uint64_t file_bytes, std::uint64_t disk_bytes);
  LogFiles(const LogFiles&) = delete;
  LogFiles& operator=(const LogFiles&) = delete;
  ~LogFiles() { end_file(); }

  // What the metadata record of files that begin from now on says.
  void set_metadata(Texts metadata) { metadata_ = std::move(metadata); }

  // Writes the messages as one chunk. Returns 0, or the errno for which none of them is in the log; over_disk_bound if they
  // do not fit into disk_bytes. The next call tries again.
  static constexpr int over_disk_bound = -1;
  int write_chunk(const Message* messages, std::size_t count);

  // Ends the log; `end` is its last word.
  void close(const Texts& end);

  // Looks whether somebody deleted the file that is written. Returns how many frames are lost with it.
  std::uint64_t forget_deleted();

 private:
  struct Chunk {
    std::uint64_t begin_ns, end_ns, offset, length, records, index_offsets[2], index_length;
  };
  class Out;

  int begin_file();
  int write_head(bool sensors);
  int make_room(std::uint64_t bytes);
  void look_at_others();
  void put_metadata(const std::string& name, const Texts& texts, std::string& to);
  void end_file();
  void drop_tail();
  std::string summary() const;
  std::string path(std::uint32_t number) const;

  std::string folder_, session_;
  std::uint64_t file_bytes_, disk_bytes_;
  Texts metadata_;
  // Files that are not written any more, the oldest first, with their bytes; other sessions' ones too.
  std::deque<std::pair<std::string, std::uint64_t>> ended_;
  std::uint64_t ended_bytes_ = 0;
  std::uint64_t busy_bytes_ = 0;  // of files that another process may be writing
  std::uint32_t number_ = 0;

  int file_ = -1;
  std::uint64_t offset_ = 0;  // all bytes before it are whole records
  bool has_schema_[2] = {};
  struct Place {
    std::string name;
    std::uint64_t offset, length;
  };
  std::vector<Place> metadata_places_;
  std::uint64_t counts_[2] = {};
  std::vector<Chunk> chunks_;
};

}  // namespace windtunnel
