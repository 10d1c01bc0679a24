// The way back through a convolution that is pooled, image by image, its input's channels in lanes.
//
// Behind max-pooling one place in four carries a gradient, and none where ReLU was dead. Only what these pass on
// is computed: each window of the pool passes its gradient to the one patch of the input in which its maximum
// was, and no two images have the same patches. So each image has a list of them, by channel of the output.

#pragma once
#include "dense.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// Gradients that are not 0, with their patches, one after the other; returns how many.
INLINE int compressed(Lanes gradient, LaneIntegers patch, float *gradients, int32_t *patches) {
#if defined(__AVX512F__)
  const __mmask16 mask = _mm512_cmp_ps_mask((__m512)gradient, _mm512_setzero_ps(), _CMP_NEQ_UQ);
  _mm512_storeu_ps(gradients, _mm512_maskz_compress_ps(mask, (__m512)gradient));
  _mm512_storeu_si512(patches, _mm512_maskz_compress_epi32(mask, (__m512i)patch));
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
  struct Work {
    Lanes map[LANES][PIXELS], gradient[OF_INPUT ? LANES : 1][PIXELS];
    Kernel kernel[O], total[O];
    LaneIntegers corner[TILES];  // the first patch of a window
    int32_t patches[LANES][LISTED];
    float gradients[LANES][LISTED];
    int32_t starts[LANES][O + 1];
  };

  static void begin(const float *weights, Work &work) {
    for (int o = 0; o < O; o++)
      for (int tap = 0; tap < TAPS; tap++) {
        for (Lanes &part : work.total[o][tap]) part = Lanes{};
        float *const kernel = flat<float>(work.kernel[o][tap]);
        for (int c = 0; c < C; c++) kernel[c] = weights[(o * C + c) * TAPS + tap];
      }
    for (int place = 0; place < PLACES; place++)
      flat<int32_t>(work.corner)[place] = Window::DOWN * POOL * (place / Out::COLUMNS) * DOWN +
                                          Window::RIGHT * POOL * (place % Out::COLUMNS) * PARTS;
  }

  static void backward(const typename In::Values &input, typename In::Gradient *input_gradient,
                       const typename Out::Gradient &gradient, const typename Shape::Winners &winner,
                       Work &work) {
    if constexpr (OF_WEIGHTS) enter(input, work);
    list(gradient, winner, work);
    for (int image = 0; image < LANES; image++) {
      if constexpr (OF_INPUT)
        for (Lanes &place : work.gradient[image]) place = Lanes{};
      for (int o = 0; o < O; o++)
        for (int part = 0; part < PARTS; part += AT_ONCE)
          for (int top = 0; top < Window::ROWS; top += ROWS) patches(work, image, o, top, part);
    }
    if constexpr (OF_INPUT) leave(work, *input_gradient);
  }

  static void enter(const typename In::Values &input, Work &work) {
    for (int y = 0; y < In::ROWS; y++)
      for (int x = 0; x < In::COLUMNS; x++)
        UNROLL
        for (int part = 0; part < PARTS; part++) {
          Lanes rows[LANES];
          UNROLL
          for (int i = 0; i < LANES; i++) {
            const int channel = part * LANES + i;
            rows[i] = channel < C ? input[channel < C ? channel : 0][y + In::BORDER_Y][x + In::BORDER_X] : Lanes{};
          }
          transpose(rows);
          UNROLL
          for (int image = 0; image < LANES; image++) work.map[image][pixel(y, x) + part] = rows[image];
        }
  }
  static constexpr int pixel(int y, int x) { return (y + In::BORDER_Y) * DOWN + (x + In::BORDER_X) * PARTS; }

  static void list(const typename Out::Gradient &gradient, const typename Shape::Winners &winner, Work &work) {
    int count[LANES] = {};
    for (int o = 0; o < O; o++) {
      for (int image = 0; image < LANES; image++) work.starts[image][o] = count[image];
      for (int tile = 0; tile < TILES; tile++) {
        Lanes slope[LANES];
        LaneIntegers patch[LANES];
        UNROLL
        for (int i = 0; i < LANES; i++) {
          const int place = tile * LANES + i;
          const bool there = PLACES % LANES == 0 || place < PLACES;
          slope[i] = there ? flat<const Lanes>(gradient[o])[place] : Lanes{};
          const Winner won = there ? flat<const Winner>(winner[o])[place] : Winner{};
          patch[i] = (won >> 2) * (Window::DOWN * DOWN) + (won & 3) * (Window::RIGHT * PARTS);
        }
        transpose(slope);
        transpose(patch);
        UNROLL
        for (int image = 0; image < LANES; image++)
          count[image] +=
              compressed(slope[image], patch[image] + work.corner[tile], work.gradients[image] + count[image],
                         work.patches[image] + count[image]);
      }
    }
    for (int image = 0; image < LANES; image++) work.starts[image][O] = count[image];
  }

  // Every window of a channel that carries a gradient adds its patch to the channel's weights, and the channel's
  // kernel to the patch's place in the gradient of the input.
  INLINE void patches(Work &work, int image, int o, int top, int part) {
    const int begin = work.starts[image][o], end = work.starts[image][o + 1], skip = part + top * DOWN;
    const Lanes *const map = work.map[image] + skip;
    Lanes *const input = work.gradient[OF_INPUT ? image : 0] + skip;
    const float *const gradients = work.gradients[image];
    const int32_t *const from = work.patches[image];
    if constexpr (BOTH) {
      Lanes sum[COUNT], kernel[COUNT];
      take(work.total[o], top, part, sum);
      take(work.kernel[o], top, part, kernel);
      for (int i = begin; i < end; i++) add(gradients[i], map + from[i], sum, input + from[i], kernel);
      give(sum, top, part, work.total[o]);
    } else {
      if constexpr (OF_WEIGHTS) {
        Lanes sum[COUNT];
        take(work.total[o], top, part, sum);
        for (int i = begin; i < end; i++)
          UNROLL
          for (int tap = 0; tap < COUNT; tap++) sum[tap] += gradients[i] * map[from[i] + offset(tap)];
        give(sum, top, part, work.total[o]);
      }
      if constexpr (OF_INPUT) {
        Lanes kernel[COUNT];
        take(work.kernel[o], top, part, kernel);
        for (int i = begin; i < end; i++)
          UNROLL
          for (int tap = 0; tap < COUNT; tap++) input[from[i] + offset(tap)] += gradients[i] * kernel[tap];
      }
    }
  }
  INLINE void add(float gradient, const Lanes *patch, Lanes (&sum)[COUNT], Lanes *place,
                  const Lanes (&kernel)[COUNT]) {
    UNROLL
    for (int tap = 0; tap < COUNT; tap++) {
      sum[tap] += gradient * patch[offset(tap)];
      place[offset(tap)] += gradient * kernel[tap];
    }
  }

  static_assert(PARTS % AT_ONCE == 0, "parts are handled in equal groups");
  static constexpr int offset(int i) {
    return i / AT_ONCE / K * DOWN + i / AT_ONCE % K * PARTS + i % AT_ONCE;
  }
  INLINE void take(const Kernel &kernel, int top, int part, Lanes (&held)[COUNT]) {
    UNROLL
    for (int i = 0; i < COUNT; i++) held[i] = kernel[top * K + i / AT_ONCE][part + i % AT_ONCE];
  }
  INLINE void give(const Lanes (&held)[COUNT], int top, int part, Kernel &kernel) {
    UNROLL
    for (int i = 0; i < COUNT; i++) kernel[top * K + i / AT_ONCE][part + i % AT_ONCE] = held[i];
  }

  static void leave(const Work &work, typename In::Gradient &input_gradient) {
    for (int y = 0; y < In::ROWS; y++)
      for (int x = 0; x < In::COLUMNS; x++)
        UNROLL
        for (int part = 0; part < PARTS; part++) {
          Lanes rows[LANES];
          UNROLL
          for (int image = 0; image < LANES; image++) rows[image] = work.gradient[image][pixel(y, x) + part];
          transpose(rows);
          UNROLL
          for (int i = 0; i < LANES; i++) {
            const int channel = part * LANES + i;
            if (channel < C) input_gradient[channel < C ? channel : 0][y][x] = rows[i];
          }
        }
  }

  static void finish(const Work &work, float *total) {
    for (int o = 0; o < O; o++)
      for (int tap = 0; tap < TAPS; tap++) {
        const float *const sums = flat<const float>(work.total[o][tap]);
        for (int c = 0; c < C; c++) total[(o * C + c) * TAPS + tap] = sums[c];
      }
  }
};
