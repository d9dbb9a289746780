// An app that does with the monitor what a test asks: driver COMMAND FOLDER ARGUMENTS...
#include <windtunnel/monitor.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <thread>
#include <vector>

using namespace windtunnel;

namespace {

constexpr std::size_t image_size = 96 * 96 * 3;

template <class T>
T take(const std::vector<char>& from, std::size_t& at) {
  T value;
  std::memcpy(&value, from.data() + at, sizeof value);
  at += sizeof value;
  return value;
}

// Options from "key=value" arguments.
Options options_of(int count, char** arguments) {
  Options made;
  for (int i = 0; i < count; ++i) {
    const std::string pair = arguments[i];
    const auto cut = pair.find('=');
    if (cut == std::string::npos) continue;
    const std::string key = pair.substr(0, cut), value = pair.substr(cut + 1);
    if (key == "level") made.level = level_from_name(value);
    else if (key == "every") made.every = std::stoull(value);
    else if (key == "every_s") made.every_s = std::stod(value);
    else if (key == "raw") made.raw = value == "1";
    else if (key == "memory") made.memory_bytes = std::stoull(value);
    else if (key == "file") made.file_bytes = std::stoull(value);
    else if (key == "disk") made.disk_bytes = std::stoull(value);
    else if (key == "flush_frames") made.flush_frames = static_cast<std::uint32_t>(std::stoul(value));
    else if (key == "flush_s") made.flush_s = std::stod(value);
    else if (key == "app") made.app = value;
    else if (key == "model_sha256") made.model_sha256 = value;
  }
  return made;
}

std::vector<float> image_of(std::uint64_t number) {
  std::vector<float> made(image_size);
  for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<float>((i * 31 + number * 17) % 256) / 256;
  return made;
}

void record(Monitor& monitor, const std::vector<float>& image, std::uint64_t number) {
  auto frame = monitor.frame();
  const std::array<float, 10> scores = {static_cast<float>(number), 1, 2, 3, 4, 5, 6, 7, 8, 9};
  frame.input(image.data(), {1, 96, 96, 3});
  frame.output(scores.data(), {1, 10});
}

// One frame for every array of a file: element, rank, sizes, values.
int arrays(const std::string& folder, const Options& options, const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  Monitor monitor(folder, options);
  for (std::size_t at = 0; at < bytes.size();) {
    const auto element = static_cast<Element>(take<std::uint32_t>(bytes, at));
    const auto rank = take<std::uint32_t>(bytes, at);
    std::vector<std::uint32_t> sizes;
    for (std::uint32_t i = 0; i < rank; ++i) sizes.push_back(take<std::uint32_t>(bytes, at));
    const auto size = take<std::uint64_t>(bytes, at);
    const Tensor tensor(bytes.data() + at, element, Shape::of(sizes.data(), sizes.size()));
    at += size;
    monitor.frame().input(tensor);
    monitor.flush();
  }
  return 0;
}

// So many frames; says how many are flushed on the way. 0: until it is killed.
int frames(const std::string& folder, const Options& options, std::uint64_t count, std::uint64_t flush_every) {
  Monitor monitor(folder, options);
  const auto image = image_of(0);
  for (std::uint64_t i = 0; count == 0 || i < count; ++i) {
    record(monitor, image, i);
    if (flush_every && (i + 1) % flush_every == 0 && monitor.flush()) {
      std::printf("%llu\n", static_cast<unsigned long long>(i + 1));
      std::fflush(stdout);
    }
  }
  monitor.close();
  std::printf("lost %llu\n", static_cast<unsigned long long>(monitor.frames_lost()));
  return 0;
}

// An array by the formula of the golden recording: (i * step) mod modulus, times scale, plus offset.
template <class T>
std::vector<T> formula(const Shape& shape, std::uint64_t step = 1, std::uint64_t modulus = 256, double scale = 1, double offset = 0,
                       const std::map<std::size_t, double>& special = {}) {
  std::vector<T> made(shape.count());
  for (std::size_t i = 0; i < made.size(); ++i) {
    const double value = static_cast<double>(i * step % modulus) * scale + offset;
    const auto found = special.find(i);
    made[i] = static_cast<T>(found == special.end() ? value : found->second);
  }
  return made;
}

void golden_inputs(Frame& frame) {
  frame.input(formula<float>({1, 96, 96, 3}, 37, 256, 1.0 / 128, -1).data(), {1, 96, 96, 3});
}
void golden_outputs(Frame& frame) { frame.output(formula<float>({1, 10}, 3, 10, 0.125, -0.5).data(), {1, 10}); }
void golden_function(Frame& frame) {
  const auto photo = formula<std::uint8_t>({4, 5, 3}, 7);
  const auto made = formula<float>({4, 5, 3}, 7, 256, 1.0 / 128, -1);
  frame.raw({photo.data(), {4, 5, 3}});
  frame.call("preprocess", [&](const auto&) { return Tensor(made.data(), {4, 5, 3}); }, shaped(photo, {4, 5, 3}));
}
void golden_types(Frame& frame) {
  frame.input("ids", {formula<std::int32_t>({1, 6}, 7, 100, 1, 0, {{4, 1 << 30}, {5, -5}}).data(), {1, 6}});
  frame.input("mask", {formula<std::int64_t>({1, 6}, 1, 2).data(), {1, 6}});
  frame.input("wide", {formula<double>({3}, 1, 256, 1, 0, {{1, 1e300}, {2, -1e300}}).data(), {3}});
  const bool flags[] = {false, true, false, true, false, true, false};
  frame.input("flags", {flags, {7}});
  frame.input("u16", {formula<std::uint16_t>({2, 600}, 59, 65536).data(), {2, 600}});
  frame.input("i16", {formula<std::int16_t>({1200}, 59, 65536, 1, -32768).data(), {1200}});
  frame.output("empty", {static_cast<const float*>(nullptr), {0, 4}});
  const float one = 2.5f;
  frame.output("one", {&one, Shape()});
}
void golden_layers(Frame& frame) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  frame.layer("conv", {formula<std::int8_t>({1, 3, 3, 4}, 5, 256, 1, -128).data(), {1, 3, 3, 4}, 0.05, -3}, 0);
  frame.layer("relu", {formula<float>({1, 8}, 1, 8, 0.25, 0, {{3, nan}, {5, infinity}}).data(), {1, 8}}, 1);
  frame.layer("wide", {formula<float>({1, 17, 17, 128}, 101, 1009, 0.5, -100).data(), {1, 17, 17, 128}}, 2);
  frame.layer("lost", {formula<float>({3}, 1, 256, 1, 0, {{0, nan}, {1, infinity}, {2, -infinity}}).data(), {3}}, 3);
}
void golden_results(Frame& frame) {
  frame.postprocessed("classes", {formula<std::int32_t>({3}, 2, 5).data(), {3}});
  frame.postprocessed("caption", Tensor(std::string_view("na\xC3\xAFve \xE2\x98\x83")));
}

// The recording that the monitors of all languages make: tests/support/edge_golden.py.
int golden(const std::string& folder) {
  Options options;
  options.level = Level::io;
  options.raw = true;
  options.app = "golden";
  options.app_version = "1.0";
  for (int i = 0; i < 32; ++i) options.model_sha256 += "ab";
  options.pipeline = R"({"schema":"windtunnel.pipeline/1"})";
  options.os = "test 1";
  options.device = "bench";
  options.runtime = "none";
  options.accelerator = "cpu";
  options.threads = 2;
  Monitor monitor(folder, options);
  monitor.sensor("orientation", {90});
  monitor.sensor("motion", {0.5, -9.75, 0.25});
  monitor.sensor("light", {1e6});
  auto first = monitor.frame();
  golden_function(first);
  golden_inputs(first);
  golden_outputs(first);
  golden_types(first);
  golden_results(first);
  first.label(3);
  first.note("lens", "wide");
  first.stage("resize").end();
  first.end();
  monitor.set_level(Level::statistics);
  auto second = monitor.frame();
  golden_function(second);
  golden_inputs(second);
  golden_outputs(second);
  golden_types(second);
  golden_layers(second);
  golden_results(second);
  second.end();
  monitor.set_level(Level::off);
  auto off = monitor.frame();
  golden_inputs(off);
  off.end();
  monitor.set_level(Level::layers);
  auto last = monitor.frame();
  golden_inputs(last);
  golden_layers(last);
  golden_outputs(last);
  last.label(0);
  last.end();
  monitor.close();
  return 0;
}

// Files may grow to so many bytes only, and the signal for it kills an app that does not care.
int small_files(const std::string& folder, const Options& options, std::uint64_t bound) {
  const rlimit limit{bound, bound};
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 3;
  return frames(folder, options, 200, 10);
}

// Many threads with frames of their own, one frame of all of them, sensors, levels, and flushes.
int threads(const std::string& folder, const Options& options, int count) {
  Monitor monitor(folder, options);
  auto shared = monitor.frame();
  std::vector<std::thread> running;
  for (int t = 0; t < count; ++t) {
    running.emplace_back([&, t] {
      const auto image = image_of(static_cast<std::uint64_t>(t));
      for (int i = 0; i < 50; ++i) {
        record(monitor, image, static_cast<std::uint64_t>(t));
        monitor.sensor("light", {static_cast<double>(t), static_cast<double>(i)});
        shared.note("thread " + std::to_string(t), static_cast<double>(i));
        const auto stage = shared.stage("shared");
        if (i % 20 == 0) monitor.flush();
      }
    });
  }
  for (auto& one : running) one.join();
  shared.end();
  monitor.close();
  std::printf("lost %llu\n", static_cast<unsigned long long>(monitor.frames_lost()));
  return 0;
}

std::vector<float> halved(const std::vector<std::uint8_t>& photo, int divisor) {
  std::vector<float> made(photo.size());
  for (std::size_t i = 0; i < photo.size(); ++i) made[i] = static_cast<float>(photo[i]) / static_cast<float>(divisor);
  return made;
}
void in_place(const std::vector<std::uint8_t>& photo, std::vector<std::uint8_t>& out) { out.assign(photo.rbegin(), photo.rend()); }
const std::string& same(const std::string& text) { return text; }
std::unique_ptr<int> moved(std::unique_ptr<int> value) { return value; }

// Everything that a frame can have.
int everything(const std::string& folder, const Options& given) {
  Options options = given;
  options.app_version = "1.2";
  options.threads = 4;
  options.facts = {{"camera", "back"}};
  options.pipeline = "{\"ops\": []}";
  options.redacts = {"raw", "face"};
  options.redact = [](Role role, std::string_view name, void* values, const Tensor& tensor) {
    if (name == "secret") return Redaction::removed;
#if defined(__cpp_exceptions)
    if (name == "throws") throw 1;
#endif
    if (role != Role::raw) return Redaction::kept;
    std::memset(values, 0, tensor.count);
    return Redaction::changed;
  };
  Monitor monitor(folder, options);
  const std::vector<std::uint8_t> photo = {10, 20, 30, 40, 50, 60};
  auto frame = monitor.frame();
  frame.raw({photo.data(), {1, 2, 3}});
  const auto image = frame.call("halved", halved, shaped(photo, {1, 2, 3}), 2);
  std::vector<std::uint8_t> out;
  frame.call("in_place", in_place, photo, out);
  const std::string text = "h\xC3\xA9llo";
  const bool reference = &frame.call("same", same, text) == &text;
  const bool pointer = *frame.call("moved", moved, std::make_unique<int>(7)) == 7;
  const auto scores = frame.infer([](const std::vector<float>& values) { return std::array<float, 2>{values[0], values[1]}; },
                                  shaped(image, {1, 1, 2, 3}));
  const std::int8_t quantized[] = {-1, 2};
  frame.layer("conv1", {quantized, {1, 2}, 0.5, -3}, 4);
  frame.layer_time("conv1", 0.0015, "CONV_2D");
  frame.postprocessed("boxes", {scores.data(), {1, 2}});
  frame.postprocessed("secret", {scores.data(), {2}});
  frame.postprocessed("throws", {scores.data(), {2}});
  frame.function_input("nothing", Tensor(nullptr, Element::float32, {3}));
  frame.note("screen", "search");
  frame.note("battery", 0.5);
  frame.label(-3);
  { const auto stage = frame.stage("draw"); }
  auto late = frame.stage("late");
  auto other = std::move(frame);
  other.end();
  other.input(photo.data(), {6});  // after its end: nothing
  late.end();
  monitor.sensor("orientation", {0, 90, 180});
  auto audio = monitor.frame();
  const float samples[] = {0.5f, -0.5f};
  audio.raw_audio({samples, {2}}, 16000);
  audio.raw_text("spoken");
  audio.end();
  monitor.flush();
  monitor.set_level(Level::off);
  if (monitor.frame()) return 4;
  monitor.set_level(Level::statistics);
  monitor.frame().input(photo.data(), {6});
  return reference && pointer ? 0 : 5;
}

// A child of fork has no writer: it must come to its end, and the parent's log must stay whole.
int forked(const std::string& folder, const Options& options) {
  Monitor monitor(folder, options);
  const auto image = image_of(0);
  record(monitor, image, 0);
  monitor.flush();
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 5; ++i) record(monitor, image, 0);
    monitor.flush();
    monitor.close();
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  record(monitor, image, 1);
  return status;
}

// Frames that end after the monitor is gone, and a folder that is deleted on the way.
int late(const std::string& folder, const Options& options) {
  Frame kept;
  {
    Monitor monitor(folder, options);
    const auto image = image_of(0);
    record(monitor, image, 0);
    if (!monitor.flush()) return 3;
    const std::string gone = folder + "/" + monitor.session() + "-000001.mcap";
    if (unlink(gone.c_str()) != 0 || rmdir(folder.c_str()) != 0) return 4;
    record(monitor, image, 1);
    kept = monitor.frame();
  }
  kept.label(1);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) return 64;
  const std::string command = arguments[1], folder = arguments[2];
  const Options options = options_of(count - 3, arguments + 3);
  const auto number = [&](int index) { return std::strtoull(arguments[index], nullptr, 10); };
  if (command == "arrays") return arrays(folder, options, arguments[3]);
  if (command == "frames") return frames(folder, options, number(3), number(4));
  if (command == "small_files") return small_files(folder, options, number(3));
  if (command == "threads") return threads(folder, options, static_cast<int>(number(3)));
  if (command == "golden") return golden(folder);
  if (command == "everything") return everything(folder, options);
  if (command == "forked") return forked(folder, options);
  if (command == "late") return late(folder, options);
  return 64;
}
