// Records what an app feeds its model and what comes out, in an edge log that `windtunnel diagnose --edge` reads.
//
//     windtunnel::Monitor monitor("/data/data/com.example/files/edge", windtunnel::Level::io);
//     ...
//     auto frame = monitor.frame();
//     const auto image = frame.call("preprocess", preprocess, photo);
//     frame.input(image.data(), {1, 96, 96, 3});
//     frame.output(scores, {1, 10});
//
// No function of the monitor throws, and none waits for a disk, except flush and close. See sdk/cpp/README.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace windtunnel {

// How much is recorded: nothing, statistics, values of all but layers, values of layers too. docs/edge-log.md has a table.
enum class Level { off = 0, statistics = 1, io = 2, layers = 3 };

// The level of a name: "off", "statistics", "io", "layers". Another name is `off`.
Level level_from_name(std::string_view name) noexcept;

// What an array is in the app.
enum class Role {
  raw = 1,
  input = 2,
  output = 3,
  layer = 4,
  function_input = 5,
  function_output = 6,
  postprocessed = 7,
};

// Element type of an array. Half floats are declared as windtunnel::Half.
enum class Element {
  float32 = 1,
  float16 = 2,
  float64 = 3,
  uint8 = 4,
  int8 = 5,
  uint16 = 6,
  int16 = 7,
  int32 = 8,
  int64 = 9,
  boolean = 10,
  text = 11,
};

// A 16-bit float, by its bits.
struct Half {
  std::uint16_t bits;
};

// The element type of T; Element{} where there is none.
template <class T>
constexpr Element element_of() noexcept {
  if constexpr (std::is_same_v<T, float>) return Element::float32;
  if constexpr (std::is_same_v<T, double>) return Element::float64;
  if constexpr (std::is_same_v<T, Half>) return Element::float16;
  if constexpr (std::is_same_v<T, bool>) return Element::boolean;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    if constexpr (sizeof(T) == 1) return std::is_signed_v<T> ? Element::int8 : Element::uint8;
    if constexpr (sizeof(T) == 2) return std::is_signed_v<T> ? Element::int16 : Element::uint16;
    if constexpr (sizeof(T) == 4 && std::is_signed_v<T>) return Element::int32;
    if constexpr (sizeof(T) == 8 && std::is_signed_v<T>) return Element::int64;
  }
  return Element{};
}

// Sizes of an array, at most 8: Shape{1, 96, 96, 3}.
class Shape {
 public:
  static constexpr std::size_t max_rank = 8;

  template <class... Sizes, class = std::enable_if_t<(std::is_integral_v<Sizes> && ...)>>
  constexpr Shape(Sizes... sizes) noexcept : sizes_{static_cast<std::uint32_t>(sizes)...}, rank_(sizeof...(sizes)) {
    static_assert(sizeof...(sizes) <= max_rank, "at most 8 sizes");
  }

  // The sizes in an array, for example TfLiteTensor::dims. Sizes after the eighth are multiplied into it.
  template <class T>
  static Shape of(const T* sizes, std::size_t rank) noexcept {
    Shape made;
    for (std::size_t i = 0; i < rank; ++i) {
      const auto size = static_cast<std::uint32_t>(sizes[i]);
      if (i < max_rank) made.sizes_[made.rank_++] = size;
      else made.sizes_[max_rank - 1] *= size;
    }
    return made;
  }

  std::size_t rank() const noexcept { return rank_; }
  std::uint32_t operator[](std::size_t index) const noexcept { return sizes_[index]; }
  // Number of values; 1 without sizes.
  std::uint64_t count() const noexcept {
    std::uint64_t product = 1;
    for (std::size_t i = 0; i < rank_; ++i) product *= sizes_[i];
    return product;
  }

 private:
  std::uint32_t sizes_[max_rank];
  std::size_t rank_;
};

// An array of the app, in C order. It is read only while a function of the monitor runs, never later.
struct Tensor {
  const void* data = nullptr;
  Element element{};
  Shape shape;
  std::uint64_t count = 0;  // values; of a text its bytes
  double scale = 0;         // of a quantized tensor: the real number of one unit; 0: not quantized
  std::int32_t zero_point = 0;

  Tensor() = default;
  template <class T, class = std::enable_if_t<element_of<T>() != Element{}>>
  Tensor(const T* values, const Shape& sizes, double scale_of = 0, std::int32_t zero_point_of = 0) noexcept
      : data(values), element(element_of<T>()), shape(sizes), count(sizes.count()), scale(scale_of), zero_point(zero_point_of) {}
  explicit Tensor(std::string_view text) noexcept : data(text.data()), element(Element::text), count(text.size()) {}
  // An array whose element type is known only at run time.
  Tensor(const void* values, Element type, const Shape& sizes, double scale_of = 0, std::int32_t zero_point_of = 0) noexcept
      : data(values), element(type), shape(sizes), count(sizes.count()), scale(scale_of), zero_point(zero_point_of) {}
};

// How a type of the app is seen as an array. Specialize it for the app's image class:
//     template <> struct windtunnel::Describe<cv::Mat> {
//       static Tensor tensor(const cv::Mat& m) { return {m.ptr<uint8_t>(), {m.rows, m.cols, m.channels()}}; }
//     };
template <class T, class = void>
struct Describe {};

template <>
struct Describe<Tensor> {
  static Tensor tensor(const Tensor& value) noexcept { return value; }
};
template <>
struct Describe<std::string> {
  static Tensor tensor(const std::string& text) noexcept { return Tensor(std::string_view(text)); }
};
template <>
struct Describe<std::string_view> {
  static Tensor tensor(std::string_view text) noexcept { return Tensor(text); }
};
// A number.
template <class T>
struct Describe<T, std::enable_if_t<std::is_arithmetic_v<T> && element_of<T>() != Element{}>> {
  static Tensor tensor(const T& value) noexcept { return Tensor(&value, Shape()); }
};
template <class T, std::size_t N>
struct Describe<T[N], std::enable_if_t<element_of<T>() != Element{} && !std::is_same_v<T, char>>> {
  static Tensor tensor(const T (&values)[N]) noexcept { return Tensor(values, Shape(N)); }
};
// std::vector, std::array, std::span and the like.
template <class C>
struct Describe<C, std::enable_if_t<element_of<std::remove_cv_t<std::remove_pointer_t<
                                        decltype(std::declval<const C&>().data())>>>() != Element{} &&
                                    std::is_integral_v<decltype(std::declval<const C&>().size())>>> {
  static Tensor tensor(const C& values) noexcept { return Tensor(values.data(), Shape(values.size())); }
};

// A container of the app with the sizes that it does not know itself. Monitor functions that call a function of the app
// hand it the container.
template <class C>
struct Shaped {
  C& value;
  Shape shape;
};
template <class C>
Shaped<C> shaped(C& container, const Shape& shape) noexcept {
  return {container, shape};
}
template <class C>
struct Describe<Shaped<C>> {
  static Tensor tensor(const Shaped<C>& given) noexcept {
    return Tensor(given.value.data(), given.value.size() == given.shape.count() ? given.shape : Shape(given.value.size()));
  }
};

namespace detail {
struct Core;
struct Recording;

template <class T, class = void>
struct IsDescribed : std::false_type {};
template <class T>
struct IsDescribed<T, std::void_t<decltype(Describe<T>::tensor(std::declval<const T&>()))>> : std::true_type {};

template <class T>
struct IsShaped : std::false_type {};
template <class C>
struct IsShaped<Shaped<C>> : std::true_type {};

// An argument or a result, if it is an array.
struct Part {
  bool there = false;
  Tensor tensor;
};
template <class T>
Part described(const T& value) noexcept {
  if constexpr (IsDescribed<T>::value) return {true, Describe<T>::tensor(value)};
  else return {};
}
// What a function is given; what it will fill is empty before.
template <class T>
Part given(const T& value) noexcept {
  const Part part = described(value);
  return part.there && part.tensor.count > 0 ? part : Part{};
}
// What a function could have changed: arguments that are not constant and that the app keeps.
template <class Argument, class T>
Part changed(const T& value) noexcept {
  if constexpr (std::is_const_v<Argument> || std::is_arithmetic_v<Argument>) return {};
  else return described(value);
}

template <class T>
decltype(auto) plain(T&& value) noexcept {
  if constexpr (IsShaped<std::decay_t<T>>::value) return (value.value);
  else return std::forward<T>(value);
}
}  // namespace detail

// What a redaction hook did with the values it was given.
enum class Redaction { kept, changed, removed };

// Gets a copy of the values of an array before anything of it is recorded, and may change them in place.
// If it throws, the values are left out.
using Redact = std::function<Redaction(Role role, std::string_view name, void* values, const Tensor& array)>;

struct Options {
  Level level = Level::io;
  // Every n-th frame is recorded, and at most one in every_s seconds (0: no bound).
  std::uint64_t every = 1;
  double every_s = 0;
  // Record raw samples too. They may show people: see `redact`.
  bool raw = false;

  // Facts of the app and the device; the empty ones are left out of the log.
  std::string model_sha256, app, app_version, os, device, runtime, accelerator;
  int threads = 0;
  std::string pipeline;  // the JSON of a pipeline.json
  std::vector<std::pair<std::string, std::string>> facts;

  // The redaction hook, and the names of what it may change, as the log says them (all, if none is given).
  Redact redact;
  std::vector<std::string> redacts;

  // Bounds: of all memory of the monitor, of a file, and of all logs in the folder.
  std::size_t memory_bytes = 4'000'000;
  std::uint64_t file_bytes = 32'000'000;
  std::uint64_t disk_bytes = 256'000'000;
  // A frame is handed to the operating system after so many frames or seconds at the latest.
  std::uint32_t flush_frames = 64;
  double flush_s = 2;
};

// Times a part of a frame until its end.
class Stage {
 public:
  Stage(Stage&& other) noexcept;
  Stage(const Stage&) = delete;
  Stage& operator=(Stage&&) = delete;
  Stage& operator=(const Stage&) = delete;
  ~Stage() { end(); }
  void end() noexcept;

 private:
  friend class Frame;
  Stage(detail::Recording* recording, int kind, std::string_view name) noexcept;
  void restart() noexcept;
  detail::Recording* recording_;
  int kind_;
  std::string_view name_;
  std::chrono::steady_clock::time_point begin_;
};

// One pass of the app from a raw sample to its result; recorded when it ends or is destroyed. If the frame is not
// recorded, all functions do nothing. Several threads may use one frame. Names given to `stage` and `inference` must
// live until these end.
class Frame {
 public:
  Frame() noexcept = default;
  Frame(Frame&& other) noexcept;
  Frame& operator=(Frame&& other) noexcept;
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  ~Frame() { end(); }

  // True: this frame is recorded.
  explicit operator bool() const noexcept { return recording_ != nullptr; }

  // The raw sample: an image (H, W, 3) in RGB, audio (samples,), or a text. Recorded only with Options::raw.
  void raw(const Tensor& sample) noexcept { record(Role::raw, {}, sample); }
  void raw(std::string_view name, const Tensor& sample) noexcept { record(Role::raw, name, sample); }
  void raw_text(std::string_view text) noexcept { record(Role::raw, {}, Tensor(text)); }
  void raw_audio(const Tensor& samples, double rate_hz) noexcept;

  // An input of the model, as it is fed; an output; the output of a layer with the index of its op in the order of
  // execution, if it is known; what the app made of the outputs.
  void input(const Tensor& tensor) noexcept { record(Role::input, {}, tensor); }
  void input(std::string_view name, const Tensor& tensor) noexcept { record(Role::input, name, tensor); }
  template <class T>
  void input(const T* values, const Shape& shape) noexcept { record(Role::input, {}, Tensor(values, shape)); }
  void output(const Tensor& tensor) noexcept { record(Role::output, {}, tensor); }
  void output(std::string_view name, const Tensor& tensor) noexcept { record(Role::output, name, tensor); }
  template <class T>
  void output(const T* values, const Shape& shape) noexcept { record(Role::output, {}, Tensor(values, shape)); }
  void layer(std::string_view name, const Tensor& tensor, std::int64_t op_index = -1) noexcept {
    record(Role::layer, name, tensor, op_index);
  }
  void postprocessed(std::string_view name, const Tensor& tensor) noexcept { record(Role::postprocessed, name, tensor); }

  // What a function of the app was given and what it returned.
  void function_input(std::string_view name, const Tensor& tensor) noexcept { record(Role::function_input, name, tensor); }
  void function_output(std::string_view name, const Tensor& tensor) noexcept { record(Role::function_output, name, tensor); }

  // Calls `function(arguments...)`, records its arguments, its result and its time, and returns its result. Of a function
  // that returns nothing, the arguments that it could change are recorded afterwards as its outputs. Arguments and
  // results that are no arrays (see Describe) are handed on only.
  template <class F, class... Args>
  decltype(auto) call(std::string_view name, F&& function, Args&&... arguments) {
    return observed(Role::function_input, Role::function_output, name, stage(name), std::forward<F>(function),
                    std::forward<Args>(arguments)...);
  }
  // The same for the model: its arguments are inputs, its result is an output, its time is that of the inference.
  template <class F, class... Args>
  decltype(auto) infer(F&& function, Args&&... arguments) {
    return observed(Role::input, Role::output, {}, inference(), std::forward<F>(function),
                    std::forward<Args>(arguments)...);
  }

  // Time a part of the frame, or the inference, until the returned object goes.
  [[nodiscard]] Stage stage(std::string_view name) noexcept { return Stage(recording_, 2, name); }
  [[nodiscard]] Stage inference(std::string_view name = {}) noexcept { return Stage(recording_, 3, name); }

  // How long a layer took, if the runtime tells it; `op` is for example "CONV_2D".
  void layer_time(std::string_view name, double elapsed_s, std::string_view op = {}) noexcept;
  // A fact of the app's own.
  void note(std::string_view key, std::string_view value) noexcept;
  void note(std::string_view key, double value) noexcept;
  // Class index of the ground truth, where the app knows it.
  void label(std::int64_t index) noexcept;

  // Hands the frame to the writer.
  void end() noexcept;

 private:
  friend class Monitor;
  explicit Frame(detail::Recording* recording) noexcept : recording_(recording) {}
  void record(Role role, std::string_view name, const Tensor& tensor, std::int64_t op_index = -1) noexcept;

  // Of several parts each has its place in its name: "resize[1]".
  void record_parts(Role role, std::string_view name, const detail::Part* parts, std::size_t count) noexcept;
  template <class F, class... Args>
  decltype(auto) observed(Role before, Role after, std::string_view name, Stage timed, F&& function, Args&&... arguments) {
    using Result = decltype(std::invoke(std::forward<F>(function), detail::plain(std::forward<Args>(arguments))...));
    const auto invoke = [&]() -> Result {
      return std::invoke(std::forward<F>(function), detail::plain(std::forward<Args>(arguments))...);
    };
    if (recording_) {
      const detail::Part parts[] = {detail::given(arguments)..., {}};
      record_parts(before, name, parts, sizeof...(arguments));
    }
    timed.restart();
    if constexpr (std::is_void_v<Result>) {
      invoke();
      timed.end();
      const detail::Part parts[] = {detail::changed<std::remove_reference_t<Args>>(arguments)..., {}};
      record_parts(after, name, parts, sizeof...(arguments));
    } else if constexpr (std::is_reference_v<Result>) {
      Result result = invoke();
      timed.end();
      const detail::Part part = detail::described(result);
      record_parts(after, name, &part, 1);
      return static_cast<Result>(result);
    } else {
      Result result = invoke();
      timed.end();
      const detail::Part part = detail::described(result);
      record_parts(after, name, &part, 1);
      return result;
    }
  }

  detail::Recording* recording_ = nullptr;
};

// Writes the edge log of one app. All its functions may be called from any thread. A log that cannot be written never
// stops the app: what is missing is counted, and the log says it as soon as it can be written again.
class Monitor {
 public:
  // Args: the folder of the log, which is made if it is missing.
  explicit Monitor(const std::string& folder, Level level = Level::io) noexcept;
  Monitor(const std::string& folder, const Options& options) noexcept;
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;
  ~Monitor();

  // Begins a frame. Frames that are not recorded are counted too.
  Frame frame() noexcept;
  // What a sensor says: "orientation" (degrees), "light" (lux), "motion" (m/s^2), or a name of the app's.
  void sensor(std::string_view name, std::initializer_list<double> values) noexcept { sensor(name, values.begin(), values.size()); }
  void sensor(std::string_view name, const double* values, std::size_t count) noexcept;

  void set_level(Level level) noexcept;
  Level level() const noexcept;

  // Hands all ended frames to the operating system; waits for it for at most so many seconds. Returns false if that took
  // longer, or if the last frames could not be written.
  bool flush(double wait_s = 5) noexcept;
  // Writes what is left and ends the log; waits for it for at most so many seconds. Returns whether it is done. Frames
  // that end later are not recorded. The destructor does it too.
  bool close(double wait_s = 5) noexcept;

  // Frames that should have been recorded and were not, since the beginning.
  std::uint64_t frames_lost() const noexcept;
  // The name of the log's files before "-<number>.mcap".
  std::string session() const;

 private:
  std::shared_ptr<detail::Core> core_;
};

}  // namespace windtunnel
