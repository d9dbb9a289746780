// A small app that classifies a photo (a PPM file), instrumented with the edge monitor in five lines:
//     g++ -std=c++17 -O2 -I sdk/cpp/include examples/edge_monitor_cpp/camera_app.cpp sdk/cpp/src/*.cpp -pthread -o app
//     ./app photo.ppm && windtunnel log show edge-log
#include <windtunnel/monitor.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

constexpr int side = 96;

// Nearest pixels, RGB in [-1, 1].
std::vector<float> preprocess(const std::vector<std::uint8_t>& pixels, int width, int height) {
  std::vector<float> made(side * side * 3);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x)
      for (int c = 0; c < 3; ++c) {
        const int from = ((y * height / side) * width + x * width / side) * 3 + c;
        made[(y * side + x) * 3 + c] = static_cast<float>(pixels[from]) / 127.5f - 1.0f;
      }
  return made;
}

// Stands for the interpreter of a model: which of three colors is the strongest.
std::vector<float> classify(const std::vector<float>& input) {
  std::vector<float> scores(3);
  for (std::size_t i = 0; i < input.size(); ++i) scores[i % 3] += input[i] / (side * side);
  return scores;
}

int main(int count, char** arguments) {
  std::ifstream file(count > 1 ? arguments[1] : "", std::ios::binary);
  std::string magic;
  int width = 0, height = 0, most = 0;
  if (!(file >> magic >> width >> height >> most) || magic != "P6" || most != 255) return 64;
  file.get();
  const std::vector<std::uint8_t> photo{std::istreambuf_iterator<char>(file), {}};
  if (photo.size() != static_cast<std::size_t>(width) * height * 3) return 64;

  windtunnel::Monitor monitor("edge-log");
  auto frame = monitor.frame();
  const auto input = frame.call("preprocess", preprocess, windtunnel::shaped(photo, {height, width, 3}), width, height);
  const auto scores = frame.infer(classify, windtunnel::shaped(input, {1, side, side, 3}));
  std::printf("%s\n", std::vector{"red", "green", "blue"}[std::max_element(scores.begin(), scores.end()) - scores.begin()]);
}
