// The way back through a convolution that is pooled, image by image, its input's channels in lanes.
//
// Behind max-pooling one place in four carries a gradient, and none where ReLU was dead. Only what these pass on
// is computed: each window of the pool passes its gradient to the one patch of the input in which its maximum
// was, and no two images have the same patches. So each image has a list of them, by channel of the output.

#pragma once
#include "dense.h"

// Gradients that are not 0, with their patches, one after the other; returns how many. By the compiler's own
// functions: <immintrin.h> alone takes it longer than a small network.
static INLINE int compressed(Lanes gradient, LaneIntegers patch, float *gradients, int32_t *patches) {
#if defined(__AVX512F__) && __has_builtin(__builtin_ia32_compresssf512_mask)
  constexpr int NOT_EQUAL = 4, CURRENT_ROUNDING = 4;
  const uint16_t mask = __builtin_ia32_cmpps512_mask(gradient, Lanes{}, NOT_EQUAL, -1, CURRENT_ROUNDING);
  gradient = __builtin_ia32_compresssf512_mask(gradient, Lanes{}, mask);
  patch = __builtin_ia32_compresssi512_mask(patch, LaneIntegers{}, mask);
  __builtin_memcpy(gradients, &gradient, sizeof gradient);
  __builtin_memcpy(patches, &patch, sizeof patch);
  return __builtin_popcount(mask);
#else
  int count = 0;
  for (int i = 0; i < LANES; i++) {
    gradients[count] = gradient[i];
    patches[count] = patch[i];
    count += gradient[i] != 0;
  }
  return count;
#endif
}

template <class Shape, bool OF_WEIGHTS, bool OF_INPUT>
struct ByImage {
  typedef typename Shape::In In;
  typedef typename Shape::Out Out;
  typedef typename Shape::Window Window;
  static constexpr int C = Shape::C, O = Shape::O, TAPS = Shape::TAPS, POOL = Shape::POOL, PLACES = Shape::PLACES;
  static constexpr int K = Window::COLUMNS, PARTS = up(C, LANES);  // registers that hold a pixel's channels
  static constexpr int DOWN = In::WIDTH * PARTS;                   // from a pixel to the one below
  // rows of a kernel, and registers of its pixels, at once
  static constexpr int HELD = REGISTERS - 4;
  static constexpr bool BOTH = OF_WEIGHTS && OF_INPUT && 2 * TAPS <= HELD;
  static constexpr int ROWS = TAPS <= HELD ? Window::ROWS : 1;
  static constexpr int AT_ONCE = divisor(PARTS, HELD / (ROWS * K * (BOTH ? 2 : 1))), COUNT = ROWS * K * AT_ONCE;
  static constexpr int PIXELS = In::HEIGHT * DOWN + 1;  // of one more register, lest maps lie in the same sets
  static constexpr int TILES = up(PLACES, LANES), LISTED = O * PLACES + LANES;
  typedef Lanes Kernel[TAPS][PARTS];
  Lanes map[LANES][PIXELS], gradients[OF_INPUT ? LANES : 1][PIXELS];
  Kernel kernel[O], total[O];
  LaneIntegers corner[TILES];  // the first patch of a window
  int32_t patches[LANES][LISTED];
  float slopes[LANES][LISTED];
  int32_t starts[LANES][O + 1];

  void begin(const float *weights) {
    for (int o = 0; o < O; o++)
      for (int tap = 0; tap < TAPS; tap++) {
        for (Lanes &part : total[o][tap]) part = Lanes{};
        for (int c = 0; c < C; c++) flat<float>(kernel[o][tap])[c] = weights[(o * C + c) * TAPS + tap];
      }
    for (int place = 0; place < PLACES; place++)
      flat<int32_t>(corner)[place] = Window::DOWN * POOL * (place / Out::COLUMNS) * DOWN +
                                     Window::RIGHT * POOL * (place % Out::COLUMNS) * PARTS;
  }

  void backward(const typename In::Values &input, typename In::Gradient *input_gradient,
                const typename Out::Gradient &gradient, const typename Shape::Winners &winner) {
    if constexpr (OF_WEIGHTS) enter(input);
    list(gradient, winner);
    for (int image = 0; image < LANES; image++) {
      if constexpr (OF_INPUT)
        for (Lanes &place : gradients[image]) place = Lanes{};
      for (int o = 0; o < O; o++)
        for (int part = 0; part < PARTS; part += AT_ONCE)
          for (int top = 0; top < Window::ROWS; top += ROWS) {
            if constexpr (OF_WEIGHTS) pass<true, BOTH>(image, o, top, part);
            if constexpr (OF_INPUT && !BOTH) pass<false, true>(image, o, top, part);
          }
    }
    if constexpr (OF_INPUT) leave(*input_gradient);
  }

  static constexpr int pixel(int y, int x) { return (y + In::BORDER_Y) * DOWN + (x + In::BORDER_X) * PARTS; }

  void enter(const typename In::Values &input) {
    for (int y = 0; y < In::ROWS; y++)
      for (int x = 0; x < In::COLUMNS; x++)
        UNROLLED(part, PARTS) {
          Lanes rows[LANES];
          UNROLLED(i, LANES) {
            const int channel = part * LANES + i;
            rows[i] = channel < C ? In::at(input, least(channel, C - 1), y, x) : Lanes{};
          }
          transpose(rows);
          UNROLLED(image, LANES) map[image][pixel(y, x) + part] = rows[image];
        }
  }

  void leave(typename In::Gradient &input) const {
    for (int y = 0; y < In::ROWS; y++)
      for (int x = 0; x < In::COLUMNS; x++)
        UNROLLED(part, PARTS) {
          Lanes rows[LANES];
          UNROLLED(image, LANES) rows[image] = gradients[image][pixel(y, x) + part];
          transpose(rows);
          UNROLLED(i, LANES)
            if (part * LANES + i < C) input[least(part * LANES + i, C - 1)][y][x] = rows[i];
        }
  }

  void list(const typename Out::Gradient &gradient, const typename Shape::Winners &winner) {
    int count[LANES] = {};
    for (int o = 0; o < O; o++) {
      for (int image = 0; image < LANES; image++) starts[image][o] = count[image];
      for (int tile = 0; tile < TILES; tile++) {
        Lanes slope[LANES];
        LaneIntegers patch[LANES];
        UNROLLED(i, LANES) {
          const int place = tile * LANES + i;
          const bool there = PLACES % LANES == 0 || place < PLACES;
          slope[i] = there ? flat<const Lanes>(gradient[o])[place] : Lanes{};
          const Winner won = there ? flat<const Winner>(winner[o])[place] : Winner{};
          patch[i] = (won >> 2) * (Window::DOWN * DOWN) + (won & 3) * (Window::RIGHT * PARTS);
        }
        transpose(slope);
        transpose(patch);
        UNROLLED(image, LANES)
          count[image] += compressed(slope[image], patch[image] + corner[tile], slopes[image] + count[image],
                                     patches[image] + count[image]);
      }
    }
    for (int image = 0; image < LANES; image++) starts[image][O] = count[image];
  }

  // Every window of a channel that carries a gradient adds its patch to the channel's weights, and the channel's
  // kernel to the patch's place in the gradient of the input.
  template <bool TO_WEIGHTS, bool TO_INPUT>
  INLINE void pass(int image, int o, int top, int part) {
    const int begin = starts[image][o], end = starts[image][o + 1], skip = part + top * DOWN;
    const Lanes *const seen = map[image] + skip;
    Lanes *const input = gradients[OF_INPUT ? image : 0] + skip;
    const float *const slope = slopes[image];
    const int32_t *const from = patches[image];
    Lanes sum[COUNT], weight[COUNT];
    UNROLLED(i, COUNT) {
      const int tap = top * K + i / AT_ONCE;
      if constexpr (TO_WEIGHTS) sum[i] = total[o][tap][part + i % AT_ONCE];
      if constexpr (TO_INPUT) weight[i] = kernel[o][tap][part + i % AT_ONCE];
    }
    for (int i = begin; i < end; i++)
      UNROLLED(j, COUNT) {
        const int place = from[i] + j / AT_ONCE / K * DOWN + j / AT_ONCE % K * PARTS + j % AT_ONCE;
        if constexpr (TO_WEIGHTS) sum[j] += slope[i] * seen[place];
        if constexpr (TO_INPUT) input[place] += slope[i] * weight[j];
      }
    if constexpr (TO_WEIGHTS)
      UNROLLED(i, COUNT) total[o][top * K + i / AT_ONCE][part + i % AT_ONCE] = sum[i];
  }

  void finish(float *sums) const {
    for (int o = 0; o < O; o++)
      for (int tap = 0; tap < TAPS; tap++)
        for (int c = 0; c < C; c++) sums[(o * C + c) * TAPS + tap] = flat<const float>(total[o][tap])[c];
  }
};
