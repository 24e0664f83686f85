/* The sums of strip_sums.py and the first pass of perceptual_hash.py over the pixels of a strip.
 *
 * The module is optional: without it NumPy and OpenCV give the same numbers, only later. All results
 * are whole numbers, so neither the order of adding nor the processor matters. Vectors are left to
 * the compiler; loops are therefore cut into blocks that are short enough for 32-bit sums.
 *
 * Arguments are described in pixel_kernels.py. Every buffer is checked for type, shape and
 * contiguity before it is touched; whatever does not fit raises ValueError. The GIL is released
 * while pixels are read.
 */
#include "checked_arrays.h"

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* 1024 squares of a Laplacian (at most 1020) or of three channels still fit 32 bits. */
#define BLOCK 1024
#define LARGEST_FACTOR 128
#define PRECISION_BITS 22
#define PIECE 256

/* ---- colours, grey and its histogram */

typedef struct {
    int64_t red, green, blue, squares;
} ColourSums;

INLINE void split_pixel(const uint8_t *pixel, int channels, uint32_t *red, uint32_t *green,
                        uint32_t *blue)
{
    if (channels == 4) { /* one load of 32 bits vectorises better than three of 8 */
        uint32_t all;
        memcpy(&all, pixel, 4);
#if PY_BIG_ENDIAN
        *red = all >> 24, *green = all >> 16 & 255, *blue = all >> 8 & 255;
#else
        *red = all & 255, *green = all >> 8 & 255, *blue = all >> 16 & 255;
#endif
    } else {
        *red = pixel[0], *green = pixel[1], *blue = pixel[2];
    }
}

INLINE void colour_block(const uint8_t *pixels, int channels, Py_ssize_t count, uint8_t *grey,
                         uint8_t *hash_grey, ColourSums *sums)
{
    uint32_t reds = 0, greens = 0, blues = 0, squares = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint32_t red, green, blue;
        split_pixel(pixels + channels * i, channels, &red, &green, &blue);
        const uint32_t weighted = 9798 * red + 19235 * green + 3735 * blue;
        grey[i] = (uint8_t)((weighted + (1 << 14)) >> 15);
        /* Pillow's weights 19595, 38470 and 7471 are twice OpenCV's, but for -1, 0 and 1. */
        hash_grey[i] = (uint8_t)((2 * weighted - red + blue + (1 << 15)) >> 16);
        reds += red, greens += green, blues += blue;
        squares += red * red + green * green + blue * blue;
    }
    sums->red += reds, sums->green += greens, sums->blue += blues, sums->squares += squares;
}

INLINE void grey_block(const uint8_t *pixels, Py_ssize_t count, ColourSums *sums)
{
    uint32_t total = 0, squares = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        total += pixels[i];
        squares += (uint32_t)pixels[i] * pixels[i];
    }
    sums->red += total, sums->green += total, sums->blue += total;
    sums->squares += 3 * (int64_t)squares;
}

/* Neighbours often have the same level; tables that take turns need not wait for each other. */
INLINE void count_levels(const uint8_t *grey, Py_ssize_t count, uint32_t tables[8][256])
{
    Py_ssize_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t levels; /* one load for eight; their order does not matter */
        memcpy(&levels, grey + i, 8);
        tables[0][levels & 255]++;
        tables[1][levels >> 8 & 255]++;
        tables[2][levels >> 16 & 255]++;
        tables[3][levels >> 24 & 255]++;
        tables[4][levels >> 32 & 255]++;
        tables[5][levels >> 40 & 255]++;
        tables[6][levels >> 48 & 255]++;
        tables[7][levels >> 56]++;
    }
    for (; i < count; i++)
        tables[0][grey[i]]++;
}

VERSIONS static void colour_rows(const uint8_t *pixels, int channels, Py_ssize_t count,
                                 uint8_t *grey, uint8_t *hash_grey, int64_t *totals,
                                 int64_t *histogram)
{
    uint32_t tables[8][256];
    uint8_t unused[BLOCK];
    ColourSums sums = {0, 0, 0, 0};
    memset(tables, 0, sizeof tables);
    for (Py_ssize_t first = 0; first < count; first += BLOCK) {
        const Py_ssize_t length = count - first < BLOCK ? count - first : BLOCK;
        const uint8_t *block = pixels + channels * first;
        uint8_t *hash_block = hash_grey != NULL ? hash_grey + first : unused;
        if (channels == 4) {
            colour_block(block, 4, length, grey + first, hash_block, &sums);
        } else if (channels == 3) {
            colour_block(block, 3, length, grey + first, hash_block, &sums);
        } else {
            memcpy(grey + first, block, (size_t)length);
            if (hash_grey != NULL)
                memcpy(hash_block, block, (size_t)length);
            grey_block(block, length, &sums);
        }
        count_levels(grey + first, length, tables);
    }
    totals[0] += sums.red, totals[1] += sums.green, totals[2] += sums.blue;
    totals[3] += sums.squares;
    for (int table = 0; table < 8; table++)
        for (int level = 0; level < 256; level++)
            histogram[level] += tables[table][level];
}

/* ---- the Laplacian */

VERSIONS static void laplacian_row(const uint8_t *above, const uint8_t *row, const uint8_t *below,
                                   Py_ssize_t columns, int64_t *total, int64_t *squares)
{
    /* The columns at the border, which see the one next to them twice. */
    for (int right = 0; right < (columns > 1 ? 2 : 1); right++) {
        const Py_ssize_t x = right ? columns - 1 : 0;
        const Py_ssize_t beside = columns == 1 ? 0 : right ? columns - 2 : 1;
        const int value = above[x] + below[x] + 2 * row[beside] - 4 * row[x];
        *total += value;
        *squares += value * value;
    }
    for (Py_ssize_t first = 1; first < columns - 1; first += BLOCK) {
        const Py_ssize_t last = columns - 1 - first < BLOCK ? columns - 1 : first + BLOCK;
        int32_t block_total = 0, block_squares = 0;
        for (Py_ssize_t x = first; x < last; x++) {
            const int16_t value =
                (int16_t)(above[x] + below[x] + row[x - 1] + row[x + 1] - 4 * row[x]);
            block_total += value;
            block_squares += value * value;
        }
        *total += block_total;
        *squares += block_squares;
    }
}

/* ---- the grid of the focus measure */

INLINE void sum_cells(const uint16_t *down, Py_ssize_t cells, Py_ssize_t factor, float *target)
{
    for (Py_ssize_t cell = 0; cell < cells; cell++) {
        uint32_t sum = 0;
        for (Py_ssize_t k = 0; k < factor; k++)
            sum += down[cell * factor + k];
        target[cell] = (float)(int32_t)sum;
    }
}

VERSIONS static void cell_row(const uint8_t *grey, Py_ssize_t columns, Py_ssize_t factor,
                              Py_ssize_t cells, float *target)
{
    uint16_t down[BLOCK];
    const Py_ssize_t at_once = BLOCK / factor;
    for (Py_ssize_t first = 0; first < cells; first += at_once) {
        const Py_ssize_t count = cells - first < at_once ? cells - first : at_once;
        const uint8_t *start = grey + first * factor;
        for (Py_ssize_t i = 0; i < count * factor; i++)
            down[i] = start[i];
        for (Py_ssize_t row = 1; row < factor; row++)
            for (Py_ssize_t i = 0; i < count * factor; i++)
                down[i] = (uint16_t)(down[i] + start[row * columns + i]);
        switch (factor) { /* the compiler vectorises known distances */
        case 2: sum_cells(down, count, 2, target + first); break;
        case 3: sum_cells(down, count, 3, target + first); break;
        case 4: sum_cells(down, count, 4, target + first); break;
        case 6: sum_cells(down, count, 6, target + first); break;
        default: sum_cells(down, count, factor, target + first);
        }
    }
}

/* ---- the hash's reduction along rows */

INLINE uint8_t rounded_level(int32_t low, int32_t high)
{
    const int64_t sum = (int64_t)high * PIECE + low + (1 << (PRECISION_BITS - 1));
    return sum < 0 ? 0 : sum >= (int64_t)256 << PRECISION_BITS ? 255 : (uint8_t)(sum >> PRECISION_BITS);
}

/* 4 rows share each coefficient. Pixels and both parts of a coefficient fit 16 bits, for which
 * processors multiply and add pairs in one instruction. */
VERSIONS static void reduce_four_rows(const uint8_t *a, const uint8_t *b, const uint8_t *c,
                                      const uint8_t *d, const int16_t *low, const int16_t *high,
                                      Py_ssize_t count, uint8_t levels[4])
{
    int32_t low_a = 0, low_b = 0, low_c = 0, low_d = 0;
    int32_t high_a = 0, high_b = 0, high_c = 0, high_d = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const int16_t level_a = a[i], level_b = b[i], level_c = c[i], level_d = d[i];
        low_a += level_a * low[i], high_a += level_a * high[i];
        low_b += level_b * low[i], high_b += level_b * high[i];
        low_c += level_c * low[i], high_c += level_c * high[i];
        low_d += level_d * low[i], high_d += level_d * high[i];
    }
    levels[0] = rounded_level(low_a, high_a);
    levels[1] = rounded_level(low_b, high_b);
    levels[2] = rounded_level(low_c, high_c);
    levels[3] = rounded_level(low_d, high_d);
}

static void reduce_all_rows(const uint8_t *grey, Py_ssize_t rows, Py_ssize_t columns,
                            const int64_t *firsts, const int64_t *offsets, Py_ssize_t cells,
                            const int16_t *low, const int16_t *high, uint8_t *target)
{
    for (Py_ssize_t row = 0; row < rows; row += 4) {
        const Py_ssize_t count = rows - row < 4 ? rows - row : 4;
        for (Py_ssize_t cell = 0; cell < cells; cell++) {
            const Py_ssize_t offset = (Py_ssize_t)offsets[cell];
            const uint8_t *lines[4];
            uint8_t levels[4];
            for (Py_ssize_t k = 0; k < 4; k++) /* the last row again where rows are missing */
                lines[k] = grey + (row + (k < count ? k : count - 1)) * columns + firsts[cell];
            reduce_four_rows(lines[0], lines[1], lines[2], lines[3], low + offset, high + offset,
                             (Py_ssize_t)offsets[cell + 1] - offset, levels);
            for (Py_ssize_t k = 0; k < count; k++)
                target[(row + k) * cells + cell] = levels[k];
        }
    }
}

/* ---- Python's side */

static PyObject *add_colours(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[5];
    Py_buffer views[5] = {{0}};
    if (!PyArg_ParseTuple(arguments, "OOOOO:add_colours", &objects[0], &objects[1], &objects[2],
                          &objects[3], &objects[4]))
        return NULL;
    Py_buffer *pixels = &views[0], *grey = &views[1], *hash_grey = &views[2];
    const int with_hash = objects[2] != Py_None;
    int ok = take(objects[1], grey, "grey", "B", 1, 2, 1) &&
             (!with_hash || take(objects[2], hash_grey, "hash_grey", "B", 1, 2, 1)) &&
             take(objects[3], &views[3], "totals", "lq", 8, 1, 1) &&
             take(objects[4], &views[4], "histogram", "lq", 8, 1, 1);
    if (!ok)
        return finish(views, 5, 0);
    /* Grey pixels have two dimensions, coloured ones three. */
    ok = take(objects[0], pixels, "pixels", "B", 1, 3, 0);
    if (!ok && pixels->obj != NULL && pixels->ndim == 2) {
        PyErr_Clear();
        PyBuffer_Release(pixels);
        ok = take(objects[0], pixels, "pixels", "B", 1, 2, 0);
    }
    if (!ok)
        return finish(views, 5, 0);
    const int channels = pixels->ndim == 2 ? 1 : (int)(pixels->shape[2] % 16);
    ok = fits(pixels->ndim == 2 || pixels->shape[2] == 3 || pixels->shape[2] == 4,
              "pixels must have 1, 3 or 4 channels") &&
         fits(grey->shape[0] == pixels->shape[0] && grey->shape[1] == pixels->shape[1],
              "grey must have the shape of pixels") &&
         fits(!with_hash || (hash_grey->shape[0] == grey->shape[0] &&
                             hash_grey->shape[1] == grey->shape[1]),
              "hash_grey must have the shape of pixels") &&
         fits(grey->len <= UINT32_MAX, "too many pixels at once") &&
         fits(views[3].shape[0] == 4, "totals must have 4 items") &&
         fits(views[4].shape[0] == 256, "histogram must have 256 items");
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        colour_rows(pixels->buf, channels, grey->len, grey->buf,
                    with_hash ? hash_grey->buf : NULL, views[3].buf, views[4].buf);
        Py_END_ALLOW_THREADS
    }
    return finish(views, 5, ok);
}

static PyObject *laplacian_sums(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *object;
    Py_buffer view = {0};
    Py_ssize_t first, last;
    int64_t total = 0, squares = 0;
    if (!PyArg_ParseTuple(arguments, "Onn:laplacian_sums", &object, &first, &last))
        return NULL;
    if (!take(object, &view, "grey", "B", 1, 2, 0) ||
        !fits(0 <= first && first <= last && last <= view.shape[0] && view.shape[1] > 0,
              "grey does not have these rows"))
        return finish(&view, 1, 0);
    const Py_ssize_t rows = view.shape[0], columns = view.shape[1];
    const uint8_t *grey = view.buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = first; row < last; row++) {
        const Py_ssize_t inner = rows > 1 ? 1 : 0;
        const Py_ssize_t above = row > 0 ? row - 1 : inner;
        const Py_ssize_t below = row < rows - 1 ? row + 1 : rows - 1 - inner;
        laplacian_row(grey + above * columns, grey + row * columns, grey + below * columns,
                      columns, &total, &squares);
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    return Py_BuildValue("(LL)", (long long)total, (long long)squares);
}

static PyObject *reduce_to_cells(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[2];
    Py_buffer views[2] = {{0}};
    Py_ssize_t left, factor;
    if (!PyArg_ParseTuple(arguments, "OnnO:reduce_to_cells", &objects[0], &left, &factor,
                          &objects[1]))
        return NULL;
    Py_buffer *grey = &views[0], *target = &views[1];
    /* Divided, not multiplied, so that nothing can overflow. */
    int ok = take(objects[0], grey, "grey", "B", 1, 2, 0) &&
             take(objects[1], target, "target", "f", 4, 2, 1) &&
             fits(1 <= factor && factor <= LARGEST_FACTOR, "factor must lie in 1..128") &&
             fits(grey->shape[0] % factor == 0 && grey->shape[0] / factor == target->shape[0] &&
                      0 <= left && left <= grey->shape[1] &&
                      target->shape[1] <= (grey->shape[1] - left) / factor,
                  "target does not have the shape of grey / factor");
    if (ok) {
        const Py_ssize_t columns = grey->shape[1], cells = target->shape[1];
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < target->shape[0]; row++)
            cell_row((const uint8_t *)grey->buf + row * factor * columns + left, columns, factor,
                     cells, (float *)target->buf + row * cells);
        Py_END_ALLOW_THREADS
    }
    return finish(views, 2, ok);
}

/* Whether every cell lies in a row and no sum of its 255-fold coefficients leaves 32 bits. */
static int is_safe_table(const int64_t *firsts, const int64_t *offsets, Py_ssize_t cells,
                         const int16_t *low, const int16_t *high, Py_ssize_t length,
                         Py_ssize_t columns)
{
    if (offsets[0] != 0 || offsets[cells] != length)
        return 0;
    for (Py_ssize_t cell = 0; cell < cells; cell++) {
        if (offsets[cell + 1] < offsets[cell] || offsets[cell + 1] > length)
            return 0;
        const int64_t count = offsets[cell + 1] - offsets[cell];
        if (firsts[cell] < 0 || firsts[cell] > columns || count > columns - firsts[cell])
            return 0;
        int64_t low_sum = 0, high_sum = 0;
        for (int64_t i = offsets[cell]; i < offsets[cell + 1]; i++) {
            low_sum += low[i] < 0 ? -low[i] : low[i];
            high_sum += high[i] < 0 ? -high[i] : high[i];
        }
        if (low_sum > INT32_MAX / 255 || high_sum > INT32_MAX / 255)
            return 0;
    }
    return 1;
}

static PyObject *reduce_rows(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[6];
    Py_buffer views[6] = {{0}};
    if (!PyArg_ParseTuple(arguments, "OOOOOO:reduce_rows", &objects[0], &objects[1], &objects[2],
                          &objects[3], &objects[4], &objects[5]))
        return NULL;
    Py_buffer *grey = &views[0], *firsts = &views[1], *offsets = &views[2], *low = &views[3];
    Py_buffer *high = &views[4], *target = &views[5];
    int ok = take(objects[0], grey, "grey", "B", 1, 2, 0) &&
             take(objects[1], firsts, "firsts", "lq", 8, 1, 0) &&
             take(objects[2], offsets, "offsets", "lq", 8, 1, 0) &&
             take(objects[3], low, "low", "h", 2, 1, 0) &&
             take(objects[4], high, "high", "h", 2, 1, 0) &&
             take(objects[5], target, "target", "B", 1, 2, 1) &&
             fits(target->shape[0] == grey->shape[0] && target->shape[1] == firsts->shape[0],
                  "target must have a row for each row and a column for each cell") &&
             fits(offsets->shape[0] == firsts->shape[0] + 1 && low->shape[0] == high->shape[0] &&
                      is_safe_table(firsts->buf, offsets->buf, firsts->shape[0], low->buf,
                                    high->buf, low->shape[0], grey->shape[1]),
                  "the coefficients do not fit the pixels or 32 bits");
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        reduce_all_rows(grey->buf, grey->shape[0], grey->shape[1], firsts->buf, offsets->buf,
                        firsts->shape[0], low->buf, high->buf, target->buf);
        Py_END_ALLOW_THREADS
    }
    return finish(views, 6, ok);
}

static PyMethodDef methods[] = {
    {"add_colours", add_colours, METH_VARARGS, NULL},
    {"laplacian_sums", laplacian_sums, METH_VARARGS, NULL},
    {"reduce_to_cells", reduce_to_cells, METH_VARARGS, NULL},
    {"reduce_rows", reduce_rows, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_pixel_kernels",
    .m_doc = "Compiled passes over pixels; see pixel_kernels.py.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__pixel_kernels(void)
{
    return PyModuleDef_Init(&module);
}
