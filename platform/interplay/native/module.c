/* The Python module: checks buffers, lets go of the interpreter's lock, and calls the C. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "augment.h"
#include "fill.h"
#include "jpeg.h"
#include "resample.h"
#include "retile.h"

static int has_bytes(const Py_buffer *buffer, const char *name, Py_ssize_t expected) {
    if (buffer->len == expected) return 1;
    PyErr_Format(PyExc_ValueError, "%s has %zd bytes instead of %zd", name, buffer->len, expected);
    return 0;
}

enum { BASE, STARTS, LENGTHS, MODES, SIZES, BOXES, RESIZED, CORNERS, FLIPS, OUT, STATUS, SIDES, PLACES, BUFFERS };

static const struct {
    const char *name;
    int item;
} ROWS[BUFFERS] = {{"base", 0},    {"starts", 8},   {"lengths", 8}, {"modes", 1}, {"sizes", 16}, {"boxes", 32},
                   {"resized", 16}, {"corners", 16}, {"flips", 1},   {"out", 0},   {"status", 1},
                   {"sides", 8},    {"places", 8}};

enum { MAX_SQUARE = 1 << 15 };

static int has_room(Py_ssize_t bytes, const int64_t *sides, const int64_t *places, Py_ssize_t first, Py_ssize_t last) {
    for (Py_ssize_t i = first; i < last; i++) {
        int64_t size = sides[i] < 1 || sides[i] >= MAX_SQUARE ? INT64_MAX : sides[i] * sides[i] * 3;
        if (places[i] >= 0 && size <= bytes && places[i] <= bytes - size) continue;
        PyErr_Format(PyExc_ValueError, "out has %zd bytes, which do not hold square %zd", bytes, i);
        return 0;
    }
    return 1;
}

static PyObject *py_fill(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer b[BUFFERS];
    int filter, fits;
    Py_ssize_t first, last;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*y*y*w*w*y*y*inn", &b[BASE], &b[STARTS], &b[LENGTHS], &b[MODES], &b[SIZES],
                          &b[BOXES], &b[RESIZED], &b[CORNERS], &b[FLIPS], &b[OUT], &b[STATUS], &b[SIDES],
                          &b[PLACES], &filter, &first, &last))
        return NULL;
    Py_ssize_t count = b[STATUS].len;
    fits = 0 <= first && first <= last && last <= count && 0 <= filter && filter < FILTERS;
    if (!fits) PyErr_SetString(PyExc_ValueError, "the range of images or the filter is impossible");
    for (int i = STARTS; fits && i < BUFFERS; i++)
        if (i != OUT) fits = has_bytes(&b[i], ROWS[i].name, count * ROWS[i].item);
    if (fits) fits = has_room(b[OUT].len, b[SIDES].buf, b[PLACES].buf, first, last);
    if (fits) {
        batch images = {b[BASE].buf,  (size_t)b[BASE].len, b[STARTS].buf, b[LENGTHS].buf, b[SIZES].buf,
                        b[BOXES].buf, b[RESIZED].buf,      b[CORNERS].buf, b[SIDES].buf,  b[PLACES].buf,
                        b[MODES].buf, b[FLIPS].buf,        filter,         b[OUT].buf};
        Py_BEGIN_ALLOW_THREADS;
        fill(&images, first, last, b[STATUS].buf);
        Py_END_ALLOW_THREADS;
    }
    for (int i = 0; i < BUFFERS; i++) PyBuffer_Release(&b[i]);
    if (!fits) return NULL;
    Py_RETURN_NONE;
}

static PyObject *py_retile(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer data;
    int tile;
    if (!PyArg_ParseTuple(args, "y*i", &data, &tile)) return NULL;
    char reason[JMSG_LENGTH_MAX];
    size_t length = 0;
    uint8_t *bytes;
    Py_BEGIN_ALLOW_THREADS;
    bytes = retile(data.buf, (size_t)data.len, tile, &length, reason);
    Py_END_ALLOW_THREADS;
    PyBuffer_Release(&data);
    if (!bytes) return PyErr_Format(PyExc_ValueError, "%s", reason);
    PyObject *result = PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)length);
    free(bytes);
    return result;
}

static PyObject *py_three_augment(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer images, operations, radii;
    int side, fits, failed = 0;
    if (!PyArg_ParseTuple(args, "w*y*y*i", &images, &operations, &radii, &side)) return NULL;
    Py_ssize_t count = operations.len;
    fits = has_bytes(&radii, "radii", count * 4) && has_bytes(&images, "images", count * side * side * 3);
    if (fits) {
        Py_BEGIN_ALLOW_THREADS;
        failed = three_augment(images.buf, count, side, operations.buf, radii.buf);
        Py_END_ALLOW_THREADS;
    }
    PyBuffer_Release(&images);
    PyBuffer_Release(&operations);
    PyBuffer_Release(&radii);
    if (failed) return PyErr_NoMemory();
    if (!fits) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {{"fill", py_fill, METH_VARARGS, NULL},
                                {"retile", py_retile, METH_VARARGS, NULL},
                                {"three_augment", py_three_augment, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_pixels", .m_size = -1, .m_methods = METHODS};

// Raised with every change of what the functions take: code that travels without its extension finds another's.
#define VERSION 1

PyMODINIT_FUNC PyInit__pixels(void) {
    PyObject *module = PyModule_Create(&MODULE);
    if (module && PyModule_AddIntMacro(module, VERSION) < 0) Py_CLEAR(module);
    return module;
}
