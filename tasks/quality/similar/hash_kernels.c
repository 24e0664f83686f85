/* The search of nearest_by_parts.py among hashes that agree in a part but for some bits.
 *
 * The module is optional: without it NumPy compares everything with everything, to the same result.
 * Arguments are described in hash_kernels.py. The GIL is released while hashes are compared.
 */
#include "../pixels/checked_arrays.h"

#define PARTS 65536
#define AT_ONCE 256

#if defined(__GNUC__)
#define COUNT_ONES(bits) __builtin_popcountll(bits)
#else
static int COUNT_ONES(uint64_t bits)
{
    int count = 0;
    for (; bits; bits &= bits - 1)
        count++;
    return count;
}
#endif

typedef struct {
    const uint64_t *hashes;
    const int64_t *numbers, *starts;
    int shift;
} Sorted;

/* Rows that share a part look into the same buckets one after another, while these are in the
 * processor's cache. */
VERSIONS static void search(Sorted all, const uint16_t *masks, Py_ssize_t mask_count,
                            const int64_t *rows, Py_ssize_t row_count, uint8_t *distance,
                            int64_t *index)
{
    uint64_t own[AT_ONCE];
    uint8_t smallest[AT_ONCE];
    int64_t nearest[AT_ONCE];
    for (Py_ssize_t first = 0, last; first < row_count; first = last) {
        const uint64_t part = all.hashes[rows[first]] >> all.shift & (PARTS - 1);
        for (last = first; last < row_count && last - first < AT_ONCE; last++) {
            const int64_t row = rows[last], number = all.numbers[row];
            if ((all.hashes[row] >> all.shift & (PARTS - 1)) != part)
                break;
            own[last - first] = all.hashes[row];
            smallest[last - first] = distance[number];
            nearest[last - first] = index[number];
        }
        for (Py_ssize_t mask = 0; mask < mask_count; mask++) {
            const int64_t start = all.starts[part ^ masks[mask]];
            const int64_t stop = all.starts[(part ^ masks[mask]) + 1];
            for (Py_ssize_t i = 0; i < last - first; i++) {
                for (int64_t other = start; other < stop; other++) {
                    const int bits = COUNT_ONES(own[i] ^ all.hashes[other]);
                    if (bits > smallest[i] || other == rows[first + i])
                        continue;
                    if (bits < smallest[i] || all.numbers[other] < nearest[i]) {
                        smallest[i] = (uint8_t)bits;
                        nearest[i] = all.numbers[other];
                    }
                }
            }
        }
        for (Py_ssize_t i = 0; i < last - first; i++) {
            const int64_t number = all.numbers[rows[first + i]];
            distance[number] = smallest[i];
            index[number] = nearest[i];
        }
    }
}

static int all_within(const int64_t *values, Py_ssize_t count, int64_t limit)
{
    for (Py_ssize_t i = 0; i < count; i++)
        if (values[i] < 0 || values[i] >= limit)
            return 0;
    return 1;
}

static int are_starts(const int64_t *starts, int64_t count)
{
    for (Py_ssize_t part = 0; part < PARTS; part++)
        if (starts[part + 1] < starts[part])
            return 0;
    return starts[0] == 0 && starts[PARTS] == count;
}

static PyObject *search_parts(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *objects[7];
    Py_buffer views[7] = {{0}};
    int shift;
    if (!PyArg_ParseTuple(arguments, "OOOiOOOO:search_parts", &objects[0], &objects[1], &objects[2],
                          &shift, &objects[3], &objects[4], &objects[5], &objects[6]))
        return NULL;
    Py_buffer *hashes = &views[0], *numbers = &views[1], *starts = &views[2], *masks = &views[3];
    Py_buffer *rows = &views[4], *distance = &views[5], *index = &views[6];
    int ok = take(objects[0], hashes, "hashes", "LQ", 8, 1, 0) &&
             take(objects[1], numbers, "numbers", "lq", 8, 1, 0) &&
             take(objects[2], starts, "starts", "lq", 8, 1, 0) &&
             take(objects[3], masks, "masks", "H", 2, 1, 0) &&
             take(objects[4], rows, "rows", "lq", 8, 1, 0) &&
             take(objects[5], distance, "distance", "B", 1, 1, 1) &&
             take(objects[6], index, "index", "lq", 8, 1, 1);
    if (ok) {
        const Py_ssize_t count = hashes->shape[0];
        ok = fits(0 <= shift && shift <= 48, "shift must lie in 0..48") &&
             fits(numbers->shape[0] == count && distance->shape[0] == count &&
                      index->shape[0] == count,
                  "numbers, distance and index must have an item for each hash") &&
             fits(starts->shape[0] == PARTS + 1 && are_starts(starts->buf, count),
                  "starts must be 65537 positions that ascend from 0 to the number of hashes") &&
             fits(all_within(numbers->buf, count, count) &&
                      all_within(rows->buf, rows->shape[0], count),
                  "a number or a row names no hash");
    }
    if (ok) {
        const Sorted all = {hashes->buf, numbers->buf, starts->buf, shift};
        Py_BEGIN_ALLOW_THREADS
        search(all, masks->buf, masks->shape[0], rows->buf, rows->shape[0], distance->buf,
               index->buf);
        Py_END_ALLOW_THREADS
    }
    return finish(views, 7, ok);
}

static PyMethodDef methods[] = {
    {"search_parts", search_parts, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_hash_kernels",
    .m_doc = "Compiled search among image hashes; see hash_kernels.py.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__hash_kernels(void)
{
    return PyModuleDef_Init(&module);
}
