// What stands behind a Monitor: frames that are being recorded, frames that wait for the writer, and the writer.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "buffer.h"
#include "log_file.h"
#include "windtunnel/monitor.h"

namespace windtunnel::detail {

using Clock = std::chrono::steady_clock;

// Why something of a frame was left out.
enum class LeftOut { memory, behind, hook, no_values };
inline constexpr int left_out_reasons = 4;

// What could not be recorded, until a frame that is stored says so.
struct Losses {
  std::uint64_t memory = 0, sensors = 0;  // frames and readings for which there was no memory
  std::uint64_t disk_bound = 0;           // frames that did not fit into disk_bytes
  std::uint64_t failed = 0;               // frames that the disk did not take
  std::uint64_t deleted = 0;              // frames of a file that was deleted while it was written
  int error = 0;                          // the errno of the last failed write
  std::uint64_t frames() const { return memory + disk_bound + failed + deleted; }
  Losses& operator+=(const Losses& more);
};

// One message that is being made: a frame, or a sensor's reading. Recordings are used again.
struct Recording {
  std::shared_ptr<Core> core;  // set while it is in use
  std::mutex mutex;            // several threads may record one frame
  std::atomic<int> holders{0};  // the frame and its open stages; the last one hands it to the writer
  Buffer message;
  Recording* next = nullptr;
  Channel channel{};
  Level level{};
  std::uint32_t sequence = 0;
  std::uint64_t time_ns = 0;
  Clock::time_point begin;
  std::uint32_t left_out[left_out_reasons] = {};  // bit (1 << role)
  Losses lost;                                    // before it, and not said by another
};

struct Core {
  Core(std::string folder, const Options& given);
  ~Core();

  const Options options;
  const std::string session;
  std::atomic<int> level;

  // Memory for a message: false if it does not fit into the bound.
  bool make_room(Recording& of, std::size_t bytes) noexcept;
  // An empty message with room for so many bytes; null, and counted, if there is no memory.
  Recording* begin(Channel channel, std::size_t bytes) noexcept;
  // Whether the frame with this number is one of those to record.
  bool wanted(std::uint64_t number) noexcept;
  // Hands a message to the writer.
  void hand_over(Recording* done) noexcept;

  static bool start_writer(const std::shared_ptr<Core>& core);
  bool flush(double wait_s) noexcept;
  bool close(double wait_s) noexcept;

  std::atomic<std::uint64_t> frames{0}, frames_lost{0};
  std::atomic<std::uint32_t> readings{0};
  // Resident memory at the last flush, for one frame; reading it takes too long for the app's thread.
  std::atomic<std::uint64_t> memory_seen{0};

 private:
  struct List {
    Recording *first = nullptr, *last = nullptr;
    std::size_t count = 0, bytes = 0;
    void push(Recording* one) noexcept;
  };

  bool take_memory(std::size_t bytes) noexcept;
  void recycle(Recording* one) noexcept;
  void lose(Channel channel) noexcept;
  bool full() const noexcept;
  void write_until_closed();
  bool write(const List& list);
  bool store(const List& list);
  Texts metadata() const;
  std::vector<std::string> reasons(const Losses& lost) const;
  std::string said(const Losses& lost) const;
  Texts end();
  static void* run(void* core);

  std::mutex mutex_;  // of what follows
  std::condition_variable work_, written_;
  List waiting_;
  Recording* free_ = nullptr;
  std::size_t memory_ = 0;
  bool short_of_memory_ = false;  // what waits is written now, so that its memory can be used again
  Losses losses_;  // that no frame says yet
  std::uint64_t flushes_asked_ = 0, flushes_done_ = 0;
  bool last_flush_whole_ = true;
  bool closing_ = false, closed_ = false;
  bool asleep_ = false;  // the writer waits for a message, however long

  std::atomic<std::int64_t> last_recorded_ns_;

  LogFiles files_;  // of the writer's thread, with what follows
  Losses unwritten_;
  std::uint64_t recorded_ = 0;
  int level_said_;
  bool has_writer_ = false;
  pthread_t writer_{};
  pid_t process_;
};

}  // namespace windtunnel::detail
