#include "core.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <deque>
#include <limits>
#include <memory>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

#include "attempt.h"
#include "platform.h"

namespace windtunnel::detail {
namespace {

constexpr std::size_t writer_stack = 256 << 10;

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

std::string new_session() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char time[32];
  std::strftime(time, sizeof time, "%Y%m%dT%H%M%S", &utc);
  // Two monitors of one process differ too: by the clock and by their count.
  static std::atomic<std::uint32_t> count{0};
  const auto mixed = static_cast<std::uint64_t>(now.time_since_epoch().count()) * 0x9E3779B97F4A7C15ull;
  const auto digits = static_cast<unsigned>((mixed >> 48) + count.fetch_add(1)) & 0xFFFFu;
  char name[80];
  std::snprintf(name, sizeof name, "%s-%ld-%04x", time, static_cast<long>(getpid()), digits);
  return name;
}

// The memory for frames is what the writer's stack, its index of chunks, and allocation leave of the bound.
Options sensible(Options made) {
  made.memory_bytes -= std::min<std::size_t>(made.memory_bytes / 4, 800'000);
  made.flush_frames = std::max(made.flush_frames, 1u);
  return made;
}

const char* level_name(int level) {
  constexpr const char* names[] = {"off", "statistics", "io", "layers"};
  return names[std::clamp(level, 0, 3)];
}

}  // namespace

Losses& Losses::operator+=(const Losses& more) {
  memory += more.memory;
  sensors += more.sensors;
  disk_bound += more.disk_bound;
  failed += more.failed;
  deleted += more.deleted;
  if (more.error) error = more.error;
  return *this;
}

void Core::List::push(Recording* one) noexcept {
  one->next = nullptr;
  if (last) last->next = one;
  else first = one;
  last = one;
  ++count;
  bytes += one->message.size();
}

Core::Core(std::string folder, const Options& given)
    : options(sensible(given)),
      session(new_session()),
      level(static_cast<int>(given.level)),
      last_recorded_ns_(std::numeric_limits<std::int64_t>::min()),
      files_(std::move(folder), session, given.file_bytes, given.disk_bytes),
      level_said_(level),
      process_(getpid()) {
  memory_seen = platform::resident_bytes();
  files_.set_metadata(metadata());
}

Core::~Core() {
  for (Recording* list : {free_, waiting_.first}) {
    while (list) delete std::exchange(list, list->next);
  }
}

Texts Core::metadata() const {
  std::string redacted;
  for (const auto& name : options.redacts) redacted += (redacted.empty() ? "" : ",") + name;
  if (redacted.empty() && options.redact) redacted = "all";
  const std::string threads = options.threads > 0 ? std::to_string(options.threads) : "";
  const Texts known = {
      {"schema", "windtunnel.edge/1"},
      {"session", session},
      {"level", level_name(level)},
      {"model_sha256", options.model_sha256},
      {"app", options.app},
      {"app_version", options.app_version},
      {"os", options.os.empty() ? platform::operating_system() : options.os},
      {"device", options.device.empty() ? platform::machine() : options.device},
      {"runtime", options.runtime},
      {"accelerator", options.accelerator},
      {"threads", threads},
      {"pipeline", options.pipeline},
      {"redacted", redacted},
  };
  Texts made;
  for (const auto& pair : known)
    if (!pair.second.empty()) made.push_back(pair);
  made.insert(made.end(), options.facts.begin(), options.facts.end());
  return made;
}

// Why frames were lost, in words.
std::vector<std::string> Core::reasons(const Losses& lost) const {
  std::vector<std::string> made;
  const std::string unwritten = "frames: not written: ";
  if (lost.memory) made.push_back("frames: over the memory bound");
  if (lost.disk_bound) made.push_back(unwritten + "the log would be larger than disk_bytes=" + std::to_string(options.disk_bytes));
  if (lost.failed) made.push_back(unwritten + std::generic_category().message(lost.error));
  if (lost.deleted) made.push_back("a file of the log was deleted");
  if (lost.sensors) made.push_back("sensor readings: over the memory bound");
  return made;
}

// The fields of a frame that say what was lost before it, as protobuf.
std::string Core::said(const Losses& lost) const {
  const auto texts = reasons(lost);
  std::size_t size = 32;
  for (const auto& text : texts) size += text.size() + 16;
  Buffer made;
  if (texts.empty() || !made.grow(size)) return {};
  if (lost.frames()) made.field_varint(9, lost.frames());
  for (const auto& text : texts) made.field_text(10, text);
  return {reinterpret_cast<const char*>(made.data()), made.size()};
}

// What the session says at its end.
Texts Core::end() {
  Losses left = unwritten_;
  {
    const std::lock_guard lock(mutex_);
    left += std::exchange(losses_, {});
  }
  std::string why;
  for (const auto& text : reasons(left)) why += (why.empty() ? "" : "; ") + text;
  char closed[32];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(closed, sizeof closed, "%Y-%m-%dT%H:%M:%SZ", &utc);
  Texts made = {
      {"frames_recorded", std::to_string(recorded_)},
      {"frames_lost", std::to_string(frames_lost)},
      {"frames_lost_at_end", std::to_string(left.frames())},
      {"closed", closed},
  };
  if (!why.empty()) made.emplace_back("left_out", why);
  return made;
}

bool Core::wanted(std::uint64_t number) noexcept {
  if (options.every > 1 && number % options.every != 0) return false;
  if (options.every_s <= 0) return true;
  const std::int64_t now = now_ns();
  std::int64_t last = last_recorded_ns_.load();
  do {
    if (last != std::numeric_limits<std::int64_t>::min() && static_cast<double>(now - last) < options.every_s * 1e9) return false;
  } while (!last_recorded_ns_.compare_exchange_weak(last, now));
  return true;
}

bool Core::take_memory(std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  while (memory_ + bytes > options.memory_bytes && free_) {
    Recording* const unused = std::exchange(free_, free_->next);
    memory_ -= unused->message.capacity();
    delete unused;
  }
  if (memory_ + bytes > options.memory_bytes) {
    if (waiting_.count > 0 && !std::exchange(short_of_memory_, true)) work_.notify_one();
    return false;
  }
  memory_ += bytes;
  return true;
}

bool Core::make_room(Recording& of, std::size_t bytes) noexcept {
  if (of.message.room() >= bytes) return true;
  const std::size_t had = of.message.capacity(), needed = of.message.size() + bytes;
  // Some more at a time for many small tensors; exactly what is needed if that is all there is.
  for (const std::size_t wanted : {needed + needed / 8, needed}) {
    if (!take_memory(wanted - had)) continue;
    if (of.message.grow(wanted)) return true;
    const std::lock_guard lock(mutex_);
    memory_ -= wanted - had;
  }
  return false;
}

Recording* Core::begin(Channel channel, std::size_t bytes) noexcept {
  Recording* made = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (free_) made = std::exchange(free_, free_->next);
  }
  if (!made) made = new (std::nothrow) Recording;
  if (made) {
    made->message.resize(0);
    made->channel = channel;
    made->lost = {};
    if (make_room(*made, bytes)) return made;
    if (made->message.capacity() == 0) {
      delete made;
    } else {
      const std::lock_guard lock(mutex_);
      recycle(made);
    }
  }
  lose(channel);
  return nullptr;
}

void Core::lose(Channel channel) noexcept {
  const std::lock_guard lock(mutex_);
  if (channel == Channel::sensor) {
    ++losses_.sensors;
    return;
  }
  ++losses_.memory;
  ++frames_lost;
}

bool Core::full() const noexcept {
  return short_of_memory_ || waiting_.count >= options.flush_frames || waiting_.bytes >= options.memory_bytes / 8;
}

void Core::hand_over(Recording* done) noexcept {
  bool wake;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) {
      if (done->channel == Channel::frame) ++frames_lost;
      return recycle(done);
    }
    if (done->channel == Channel::frame) done->lost = std::exchange(losses_, {});
    waiting_.push(done);
    wake = full() || std::exchange(asleep_, false);
  }
  if (wake) work_.notify_one();
}

void Core::recycle(Recording* one) noexcept {
  one->next = free_;
  free_ = one;
}

void* Core::run(void* core) {
  platform::give_way();
  // The writer keeps what it uses, so that an app need not wait for a disk that hangs.
  const std::unique_ptr<std::shared_ptr<Core>> owner(static_cast<std::shared_ptr<Core>*>(core));
  (*owner)->write_until_closed();
  return nullptr;
}

bool Core::start_writer(const std::shared_ptr<Core>& core) {
  auto owner = std::make_unique<std::shared_ptr<Core>>(core);
  // The app's signals stay with the app's threads, and a bound on the size of files is an error here, not a signal.
  sigset_t all, before;
  sigfillset(&all);
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setstacksize(&attributes, writer_stack);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  core->has_writer_ = pthread_create(&core->writer_, &attributes, run, owner.get()) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (core->has_writer_) owner.release();
  return core->has_writer_;
}

void Core::write_until_closed() {
  std::unique_lock lock(mutex_);
  for (bool last = false; !last;) {
    const auto pressing = [&] { return closing_ || flushes_asked_ > flushes_done_ || full(); };
    const auto flush_s = std::chrono::duration<double>(std::clamp(options.flush_s, 0.0, 86400.0));
    // While frames come, it looks once in flush_s, without a call of the app; without frames it sleeps.
    if (!work_.wait_for(lock, flush_s, pressing) && waiting_.count == 0) {
      asleep_ = true;
      work_.wait(lock, [&] { return pressing() || waiting_.count > 0; });
      asleep_ = false;
      work_.wait_for(lock, flush_s, pressing);
    }
    last = closing_;
    const std::uint64_t asked = flushes_asked_;
    const List list = std::exchange(waiting_, List{});
    short_of_memory_ = false;
    lock.unlock();
    const bool whole = list.count == 0 || store(list);
    if (list.count) memory_seen = platform::resident_bytes();
    lock.lock();
    if (list.count) last_flush_whole_ = whole;
    for (Recording* one = list.first; one;) recycle(std::exchange(one, one->next));
    flushes_done_ = asked;
    written_.notify_all();
  }
  lock.unlock();
  WINDTUNNEL_TRY { files_.close(end()); }
  WINDTUNNEL_CATCH_ALL {}  // no memory: the log ends like that of a killed app
  lock.lock();
  closed_ = true;
  written_.notify_all();
}

// Writes a chunk, and whatever happens, the thread goes on.
bool Core::store(const List& list) {
  WINDTUNNEL_TRY { return write(list); }
  WINDTUNNEL_CATCH_ALL {}
  unwritten_.failed += list.count;
  unwritten_.error = ENOMEM;
  frames_lost += list.count;
  return false;
}

bool Core::write(const List& list) {
  if (level_said_ != level) {
    level_said_ = level;
    files_.set_metadata(metadata());
  }
  const std::uint64_t gone = files_.forget_deleted();
  unwritten_.deleted += gone;
  frames_lost += gone;
  recorded_ -= gone;
  std::vector<Message> messages;
  std::deque<std::string> more;
  messages.reserve(list.count);
  Losses said_now;
  for (const Recording* one = list.first; one; one = one->next) {
    Message made{one->channel, one->sequence, one->time_ns, one->message.data(), one->message.size(), nullptr, 0};
    if (one->channel == Channel::frame) {
      Losses lost = one->lost;
      if (more.empty()) lost += unwritten_;
      said_now += lost;
      const std::string& fields = more.emplace_back(said(lost));
      made.more = reinterpret_cast<const std::uint8_t*>(fields.data());
      made.more_size = fields.size();
    }
    messages.push_back(made);
  }
  const int error = files_.write_chunk(messages.data(), messages.size());
  if (error == 0) {
    if (!more.empty()) unwritten_ = {};
    recorded_ += more.size();
    return true;
  }
  if (!more.empty()) unwritten_ = said_now;
  (error == LogFiles::over_disk_bound ? unwritten_.disk_bound : unwritten_.failed) += more.size();
  unwritten_.sensors += messages.size() - more.size();
  if (error != LogFiles::over_disk_bound) unwritten_.error = error;
  frames_lost += more.size();
  return false;
}

bool Core::flush(double wait_s) noexcept {
  if (!has_writer_ || getpid() != process_) return false;
  std::unique_lock lock(mutex_);
  if (closing_) return false;
  const std::uint64_t mine = ++flushes_asked_;
  work_.notify_one();
  const auto wait = std::chrono::duration<double>(std::clamp(wait_s, 0.0, 86400.0));
  return written_.wait_for(lock, wait, [&] { return flushes_done_ >= mine; }) && last_flush_whole_;
}

bool Core::close(double wait_s) noexcept {
  if (!has_writer_ || getpid() != process_) return false;  // a forked child has no writer and must not end its parent's log
  std::unique_lock lock(mutex_);
  const bool first = !std::exchange(closing_, true);
  work_.notify_one();
  const auto wait = std::chrono::duration<double>(std::clamp(wait_s, 0.0, 86400.0));
  const bool done = written_.wait_for(lock, wait, [&] { return closed_; });
  lock.unlock();
  if (!first) return done;
  if (done) pthread_join(writer_, nullptr);
  else pthread_detach(writer_);
  return done;
}

}  // namespace windtunnel::detail
