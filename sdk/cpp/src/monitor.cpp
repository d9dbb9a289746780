#include "windtunnel/monitor.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <new>

#include "attempt.h"
#include "core.h"
#include "statistics.h"

namespace windtunnel {

using detail::Clock;
using detail::Core;
using detail::LeftOut;
using detail::Recording;

namespace {

constexpr std::size_t frame_bytes = 1024;  // what a frame needs at least: its head and its end
constexpr std::size_t tail_bytes = 512;    // kept for its end
constexpr std::size_t tensor_head = 128;   // of a tensor without its name and values
constexpr std::size_t statistics_bytes = 192;

enum TimingKind { whole_frame = 1, stage_of_app = 2, inference_of_model = 3, layer_of_model = 4 };

void put_seconds_nanos(Buffer& to, unsigned field, std::int64_t nanoseconds) {
  const std::size_t mark = to.open(field);
  if (const auto seconds = nanoseconds / 1'000'000'000) to.field_varint(1, static_cast<std::uint64_t>(seconds));
  if (const auto nanos = nanoseconds % 1'000'000'000) to.field_varint(2, static_cast<std::uint64_t>(nanos));
  to.close(mark);
}

std::int64_t nanoseconds(Clock::duration time) {
  return std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
}

void put_statistics(Buffer& to, const Statistics& figures) {
  const std::size_t mark = to.open(6);
  to.field_varint(1, figures.count);
  if (figures.non_finite) to.field_varint(2, figures.non_finite);
  const float four[] = {figures.min, figures.max, figures.mean, figures.std};
  for (unsigned i = 0; i < 4; ++i)
    if (four[i] != 0) to.field_float(3 + i, four[i]);
  if (figures.quantiles_size) to.field_bytes(7, figures.quantiles.data(), figures.quantiles_size * sizeof(float));
  if (figures.projection_size) to.field_bytes(8, figures.projection.data(), figures.projection_size * sizeof(float));
  to.close(mark);
}

void put_timing(Buffer& to, TimingKind kind, std::string_view name, std::int64_t elapsed, std::int64_t begin, std::string_view op) {
  const std::size_t mark = to.open(5);
  to.field_varint(1, static_cast<std::uint64_t>(kind));
  if (!name.empty()) to.field_text(2, name);
  put_seconds_nanos(to, 3, elapsed);
  if (begin > 0) put_seconds_nanos(to, 4, begin);
  if (!op.empty()) to.field_text(5, op);
  to.close(mark);
}

// Room for more of a frame, so that room for its end stays.
bool room(Recording& frame, std::size_t bytes) { return frame.core->make_room(frame, bytes + tail_bytes); }

void leave_out(Recording& frame, LeftOut why, Role role) {
  frame.left_out[static_cast<int>(why)] |= 1u << static_cast<int>(role);
}

void add_timing(Recording& frame, TimingKind kind, std::string_view name, std::int64_t elapsed, std::int64_t begin, std::string_view op = {}) {
  const std::lock_guard lock(frame.mutex);
  if (room(frame, 64 + name.size() + op.size())) put_timing(frame.message, kind, name, elapsed, begin, op);
}

// What is known of a tensor without looking at its values.
void put_facts(Buffer& to, Role role, std::string_view name, const Tensor& tensor, std::int64_t op_index) {
  to.field_varint(1, static_cast<std::uint64_t>(role));
  if (!name.empty()) to.field_text(2, name);
  to.field_varint(3, static_cast<std::uint64_t>(tensor.element));
  if (tensor.element != Element::text && tensor.shape.rank() > 0) {
    const std::size_t mark = to.open(4);
    for (std::size_t i = 0; i < tensor.shape.rank(); ++i) to.varint(tensor.shape[i]);
    to.close(mark);
  }
  if (tensor.scale != 0) to.field_double(7, tensor.scale);
  if (tensor.zero_point != 0) to.field_varint(8, static_cast<std::uint64_t>(std::int64_t{tensor.zero_point}));
  if (op_index >= 0) to.field_varint(10, static_cast<std::uint64_t>(op_index) + 1);
}

Redaction ask(const Redact& hook, Role role, std::string_view name, void* values, const Tensor& tensor, bool& failed) {
  WINDTUNNEL_TRY { return hook(role, name, values, tensor); }
  WINDTUNNEL_CATCH_ALL { failed = true; }
  return Redaction::removed;
}

// A tensor with a hook: the hook gets the copy that is recorded, and what it did not see is not recorded.
void put_redacted(Recording& frame, Role role, std::string_view name, const Tensor& tensor, std::size_t bytes, bool keep_values) {
  Buffer& to = frame.message;
  if (!room(frame, bytes + statistics_bytes)) return leave_out(frame, LeftOut::memory, role);
  const std::size_t before = to.size();
  to.varint(5 << 3 | 2);
  to.varint(bytes);
  std::uint8_t* const copy = to.data() + to.size();
  to.bytes(tensor.data, bytes);
  bool failed = false;
  const Redaction done = ask(frame.core->options.redact, role, name, copy, tensor, failed);
  if (failed) leave_out(frame, LeftOut::hook, role);
  Statistics figures;
  const bool figured = done != Redaction::removed && !keep_values && tensor.element != Element::text;
  if (figured) figures = statistics_of(copy, tensor.element, tensor.count);
  if (done == Redaction::removed || !keep_values) to.resize(before);
  if (figured) put_statistics(to, figures);
  if (done != Redaction::kept) to.field_varint(9, 1);
}

void put_tensor(Recording& frame, Role role, std::string_view name, const Tensor& tensor, std::int64_t op_index) {
  const std::size_t bytes = tensor.count * element_bytes(tensor.element);
  const bool readable = element_bytes(tensor.element) != 0 && (tensor.data || bytes == 0) && tensor.count < (1ull << 31);
  if (!readable) return leave_out(frame, LeftOut::no_values, role);
  const bool keep_values = frame.level >= (role == Role::layer ? Level::layers : Level::io);
  Buffer& to = frame.message;
  const auto& hook = frame.core->options.redact;
  const bool values = keep_values && !hook && room(frame, tensor_head + name.size() + bytes);
  // Statistics stand for values that never fit. If only the writer is behind, the app does not spend time on them.
  const bool behind = keep_values && !values && bytes + frame_bytes < frame.core->options.memory_bytes;
  if (!values && !room(frame, tensor_head + name.size() + statistics_bytes)) return leave_out(frame, LeftOut::memory, role);
  const std::size_t mark = to.open(4);
  put_facts(to, role, name, tensor, op_index);
  if (hook) {
    put_redacted(frame, role, name, tensor, bytes, keep_values);
  } else if (values) {
    to.field_bytes(5, tensor.data, bytes);
  } else {
    if (keep_values) leave_out(frame, behind ? LeftOut::behind : LeftOut::memory, role);
    if (tensor.element != Element::text && !behind) put_statistics(to, statistics_of(tensor.data, tensor.element, tensor.count));
  }
  to.close(mark);
}

void put_left_out(Recording& frame) {
  constexpr const char* reasons[] = {"over the memory bound", "over the memory bound, because the disk is slow", "the redaction hook failed", "the app gave no values"};
  constexpr const char* roles[] = {"", "raw", "input", "output", "layer", "function_input", "function_output", "postprocessed"};
  for (int reason = 0; reason < detail::left_out_reasons; ++reason) {
    for (int role = 1; role <= 7; ++role) {
      if (!(frame.left_out[reason] >> role & 1)) continue;
      char text[80];
      std::snprintf(text, sizeof text, "%s: %s", roles[role], reasons[reason]);
      if (frame.core->make_room(frame, sizeof text + 8)) frame.message.field_text(10, text);
    }
  }
}

// One holder less; the last one hands the frame to the writer.
void release(Recording* frame) {
  if (frame->holders.fetch_sub(1) != 1) return;
  if (frame->core->make_room(*frame, 16)) {
    if (const auto bytes = frame->core->memory_seen.exchange(0)) frame->message.field_varint(6, bytes);
  }
  put_left_out(*frame);
  const std::shared_ptr<Core> core = std::move(frame->core);
  core->hand_over(frame);
}

}  // namespace

Level level_from_name(std::string_view name) noexcept {
  constexpr std::string_view names[] = {"off", "statistics", "io", "layers"};
  for (int i = 0; i < 4; ++i)
    if (names[i] == name) return static_cast<Level>(i);
  return Level::off;
}

Stage::Stage(Recording* recording, int kind, std::string_view name) noexcept : recording_(recording), kind_(kind), name_(name) {
  if (!recording_) return;
  recording_->holders.fetch_add(1);
  begin_ = Clock::now();
}

Stage::Stage(Stage&& other) noexcept
    : recording_(std::exchange(other.recording_, nullptr)), kind_(other.kind_), name_(other.name_), begin_(other.begin_) {}

void Stage::restart() noexcept {
  if (recording_) begin_ = Clock::now();
}

void Stage::end() noexcept {
  if (!recording_) return;
  const auto now = Clock::now();
  add_timing(*recording_, static_cast<TimingKind>(kind_), name_, nanoseconds(now - begin_), nanoseconds(begin_ - recording_->begin));
  release(std::exchange(recording_, nullptr));
}

Frame::Frame(Frame&& other) noexcept : recording_(std::exchange(other.recording_, nullptr)) {}

Frame& Frame::operator=(Frame&& other) noexcept {
  if (this != &other) {
    end();
    recording_ = std::exchange(other.recording_, nullptr);
  }
  return *this;
}

void Frame::record(Role role, std::string_view name, const Tensor& tensor, std::int64_t op_index) noexcept {
  if (!recording_ || (role == Role::raw && !recording_->core->options.raw)) return;
  const std::lock_guard lock(recording_->mutex);
  put_tensor(*recording_, role, name, tensor, op_index);
}

void Frame::record_parts(Role role, std::string_view name, const detail::Part* parts, std::size_t count) noexcept {
  if (!recording_) return;
  const auto found = std::count_if(parts, parts + count, [](const detail::Part& part) { return part.there; });
  for (std::size_t i = 0; i < count; ++i) {
    if (!parts[i].there) continue;
    char with_place[128];
    const int size = std::snprintf(with_place, sizeof with_place, "%.*s[%zu]", static_cast<int>(std::min<std::size_t>(name.size(), 100)), name.data(), i);
    record(role, found == 1 ? name : std::string_view(with_place, static_cast<std::size_t>(size)), parts[i].tensor);
  }
}

void Frame::layer_time(std::string_view name, double elapsed_s, std::string_view op) noexcept {
  if (recording_ && elapsed_s >= 0 && elapsed_s < 1e9) add_timing(*recording_, layer_of_model, name, std::llround(elapsed_s * 1e9), 0, op);
}

void Frame::raw_audio(const Tensor& samples, double rate_hz) noexcept {
  if (!recording_) return;
  raw(samples);
  const std::lock_guard lock(recording_->mutex);
  if (room(*recording_, 16)) recording_->message.field_double(11, rate_hz);
}

void Frame::note(std::string_view key, std::string_view value) noexcept {
  if (!recording_) return;
  const std::lock_guard lock(recording_->mutex);
  if (!room(*recording_, key.size() + value.size() + 32)) return;
  Buffer& to = recording_->message;
  const std::size_t mark = to.open(7);
  to.field_text(1, key);
  to.field_text(2, value);
  to.close(mark);
}

void Frame::note(std::string_view key, double value) noexcept {
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  note(key, std::string_view(text));
}

void Frame::label(std::int64_t index) noexcept {
  if (!recording_) return;
  const std::lock_guard lock(recording_->mutex);
  if (room(*recording_, 16)) recording_->message.field_varint(8, static_cast<std::uint64_t>(index));
}

void Frame::end() noexcept {
  if (!recording_) return;
  const auto elapsed = nanoseconds(Clock::now() - recording_->begin);
  {
    const std::lock_guard lock(recording_->mutex);
    if (recording_->core->make_room(*recording_, 64)) put_timing(recording_->message, whole_frame, {}, elapsed, 0, {});
  }
  release(std::exchange(recording_, nullptr));
}

Monitor::Monitor(const std::string& folder, const Options& options) noexcept {
  WINDTUNNEL_TRY {
    core_ = std::make_shared<Core>(folder, options);
    if (!Core::start_writer(core_)) core_ = nullptr;
  }
  WINDTUNNEL_CATCH_ALL { core_ = nullptr; }  // no memory: the app goes on without a log
}

Monitor::Monitor(const std::string& folder, Level level) noexcept
    : Monitor(folder, [&] { Options made; made.level = level; return made; }()) {}

Monitor::~Monitor() { close(); }

Frame Monitor::frame() noexcept {
  if (!core_) return {};
  const std::uint64_t number = core_->frames.fetch_add(1, std::memory_order_relaxed);
  const int level = core_->level.load(std::memory_order_relaxed);
  if (level == static_cast<int>(Level::off) || !core_->wanted(number)) return {};
  Recording* const made = core_->begin(Channel::frame, frame_bytes);
  if (!made) return {};
  made->core = core_;
  made->holders = 1;
  made->level = static_cast<Level>(level);
  made->sequence = static_cast<std::uint32_t>(number);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  made->time_ns = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  for (auto& roles : made->left_out) roles = 0;
  Buffer& to = made->message;
  if (number) to.field_varint(1, number);
  put_seconds_nanos(to, 2, static_cast<std::int64_t>(made->time_ns));
  to.field_varint(3, static_cast<std::uint64_t>(level));
  made->begin = Clock::now();
  return Frame(made);
}

void Monitor::sensor(std::string_view name, const double* values, std::size_t count) noexcept {
  if (!core_ || core_->level.load(std::memory_order_relaxed) == static_cast<int>(Level::off)) return;
  Recording* const made = core_->begin(Channel::sensor, 48 + name.size() + count * sizeof(double));
  if (!made) return;
  made->sequence = core_->readings.fetch_add(1);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  made->time_ns = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  Buffer& to = made->message;
  put_seconds_nanos(to, 1, static_cast<std::int64_t>(made->time_ns));
  to.field_text(2, name);
  if (count) to.field_bytes(3, values, count * sizeof(double));
  core_->hand_over(made);
}

void Monitor::set_level(Level level) noexcept {
  if (core_) core_->level = static_cast<int>(level);
}

Level Monitor::level() const noexcept { return core_ ? static_cast<Level>(core_->level.load()) : Level::off; }

bool Monitor::flush(double wait_s) noexcept { return core_ && core_->flush(wait_s); }

bool Monitor::close(double wait_s) noexcept { return core_ && core_->close(wait_s); }

std::uint64_t Monitor::frames_lost() const noexcept { return core_ ? core_->frames_lost.load() : 0; }

std::string Monitor::session() const { return core_ ? core_->session : std::string(); }

}  // namespace windtunnel
