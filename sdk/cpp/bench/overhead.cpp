// What the monitor costs an app per frame, in the app's own thread, beside a bare copy of the same bytes.
//     overhead LEVEL FOLDER FRAMES
// Prints one line of JSON. The app is a 96x96x3 float classifier; its inference is stood in for by work on as much memory
// as a small model has, so that caches are as in an app.
#include <windtunnel/monitor.h>

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "platform.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t image_size = 96 * 96 * 3;
constexpr std::size_t scores_size = 10;

// Keeps the compiler from leaving work out.
void used(const void* pointer) { asm volatile("" : : "r"(pointer) : "memory"); }

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

// Half a megabyte of weights, two passes.
float infer(const std::vector<float>& weights, const std::vector<float>& image) {
  float sum = 0;
  for (int pass = 0; pass < 2; ++pass)
    for (std::size_t i = 0; i < weights.size(); ++i) sum += weights[i] * image[i % image_size];
  return sum;
}

// Processor time of this thread: other programs and the writer's thread have no part in it.
double cpu_microseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

double at(std::vector<double>& times, double quantile) {
  std::sort(times.begin(), times.end());
  return times[static_cast<std::size_t>(quantile * static_cast<double>(times.size() - 1))];
}

std::uint64_t bytes_of(const std::string& folder) {
  std::uint64_t sum = 0;
  DIR* const opened = opendir(folder.c_str());
  if (!opened) return 0;
  while (const dirent* const entry = readdir(opened)) {
    struct stat facts {};
    if (stat((folder + "/" + entry->d_name).c_str(), &facts) == 0 && S_ISREG(facts.st_mode))
      sum += static_cast<std::uint64_t>(facts.st_size);
  }
  closedir(opened);
  return sum;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 64;
  const auto level = windtunnel::level_from_name(arguments[1]);
  const std::string folder = arguments[2];
  const auto frames = std::strtoull(arguments[3], nullptr, 10);

  std::vector<float> weights(128 * 1024), image(image_size), scores(scores_size), copy(image_size + scores_size);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 7);
  std::vector<double> bare, monitored;
  bare.reserve(frames);
  monitored.reserve(frames);

  const auto before = windtunnel::platform::resident_bytes();
  std::uint64_t most = before;
  std::uint64_t lost = 0;
  double processor = 0;
  {
    windtunnel::Monitor monitor(folder, level);
    for (std::uint64_t number = 0; number < frames; ++number) {
      for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>((i + number) % 256) / 128 - 1;
      scores[number % scores_size] = infer(weights, image);
      const auto begin = Clock::now();
      std::memcpy(copy.data(), image.data(), image_size * sizeof(float));
      std::memcpy(copy.data() + image_size, scores.data(), scores_size * sizeof(float));
      used(copy.data());
      bare.push_back(microseconds(Clock::now() - begin));

      scores[number % scores_size] = infer(weights, image);
      const double cpu = cpu_microseconds();
      const auto start = Clock::now();
      auto frame = monitor.frame();
      frame.input(image.data(), {1, 96, 96, 3});
      frame.output(scores.data(), {1, scores_size});
      frame.end();
      monitored.push_back(microseconds(Clock::now() - start));
      processor += cpu_microseconds() - cpu;
      std::this_thread::sleep_for(std::chrono::milliseconds(4));  // 200 frames in a second: more than a camera gives
      if (number % 64 == 0) most = std::max(most, windtunnel::platform::resident_bytes());
    }
    monitor.close();
    lost = monitor.frames_lost();
  }
  double sum = 0;
  for (const double one : monitored) sum += one;
  std::printf("{\"level\": \"%s\", \"frames\": %llu, \"frames_lost\": %llu, \"copy_us\": %.3f, \"monitor_us\": %.3f, "
              "\"monitor_mean_us\": %.3f, \"monitor_cpu_us\": %.3f, \"monitor_p95_us\": %.3f, \"memory_bytes\": %lld, \"disk_bytes_per_frame\": %.1f}\n",
              arguments[1], static_cast<unsigned long long>(frames), static_cast<unsigned long long>(lost), at(bare, 0.5),
              at(monitored, 0.5), sum / static_cast<double>(frames), processor / static_cast<double>(frames), at(monitored, 0.95),
              static_cast<long long>(most - before), static_cast<double>(bytes_of(folder)) / static_cast<double>(frames));
  return 0;
}
