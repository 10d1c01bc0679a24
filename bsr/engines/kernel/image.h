// A block of images enters the lanes: a row of pixels per image becomes a row of images per pixel.

#pragma once
#include "layer.h"

template <class Number>
struct Tiled;
template <>
struct Tiled<uint8_t> {
  typedef LaneBytes Row;
  typedef UnalignedLaneBytes Unaligned;
};
template <>
struct Tiled<float> {
  typedef Lanes Row;
  typedef UnalignedLanes Unaligned;
};

template <class Number, class Out>
struct Image {
  static constexpr int PIXELS = Out::COUNT;
  typedef Number Pixel;
  typedef typename Out::Gradient Gradient;
  typedef typename Tiled<Number>::Row Row;
  struct Work {
    Row pixels[PIXELS];
    typename Out::Values out;
  };

  static void load(const Pixel *const (&images)[LANES], Work &work) {
    if constexpr (PIXELS < LANES) {
      for (int pixel = 0; pixel < PIXELS; pixel++)
        for (int lane = 0; lane < LANES; lane++) work.pixels[pixel][lane] = images[lane][pixel];
    } else {
      for (int start = 0; start < PIXELS; start += LANES) {
        const int pixel = least(start, PIXELS - LANES);  // the last tile may overlap the one before
        Row tile[LANES];
        UNROLL
        for (int lane = 0; lane < LANES; lane++)
          tile[lane] = *reinterpret_cast<const typename Tiled<Number>::Unaligned *>(images[lane] + pixel);
        transpose(tile);
        UNROLL
        for (int i = 0; i < LANES; i++) work.pixels[pixel + i] = tile[i];
      }
    }
    // flat, because GCC widens bytes well in loops and badly in vectors
    const Pixel *pixels = flat<Pixel>(work.pixels);
    for (int channel = 0; channel < Out::CHANNELS; channel++)
      for (int row = 0; row < Out::ROWS; row++, pixels += Out::COLUMNS * LANES) {
        float *const out = flat<float>(work.out[channel][row + Out::BORDER_Y][Out::BORDER_X]);
        for (int i = 0; i < Out::COLUMNS * LANES; i++) out[i] = pixels[i];
      }
  }
};
