/* What the compiled modules share: versions of a function for newer processors, and arrays from
 * Python that are checked before they are touched.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* Several versions of a function, chosen when the module is loaded. This needs the GNU linker's
 * indirect functions; ONE_VERSION turns it off for sanitizers, which start after that choice. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__) && \
    !defined(ONE_VERSION)
#if __GNUC__ >= 12
#define VERSIONS __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define VERSIONS __attribute__((target_clones("avx2", "default")))
#endif
#else
#define VERSIONS
#endif

/* Take a contiguous buffer of `dimensions` whose items are one of the letters in `types`. */
static int take(PyObject *object, Py_buffer *view, const char *name, const char *types,
                Py_ssize_t item_size, int dimensions, int writable)
{
    const int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0) {
        view->obj = NULL;
        if (!PyErr_ExceptionMatches(PyExc_MemoryError)) {
            PyErr_Clear();
            PyErr_Format(PyExc_ValueError, "%s must be a contiguous%s array", name,
                         writable ? ", writable" : "");
        }
        return 0;
    }
    if (view->ndim != dimensions || view->itemsize != item_size || view->format == NULL ||
        strlen(view->format) != 1 || strchr(types, view->format[0]) == NULL) {
        PyErr_Format(PyExc_ValueError, "%s has another type or number of dimensions than %d", name,
                     dimensions);
        return 0;
    }
    if ((uintptr_t)view->buf % (uintptr_t)item_size != 0) {
        PyErr_Format(PyExc_ValueError, "%s is not aligned", name);
        return 0;
    }
    return 1;
}

static int fits(int condition, const char *message)
{
    if (!condition)
        PyErr_SetString(PyExc_ValueError, message);
    return condition;
}

static PyObject *finish(Py_buffer *views, int count, int succeeded)
{
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&views[i]); /* does nothing to one that was not taken */
    if (!succeeded)
        return NULL;
    Py_RETURN_NONE;
}
