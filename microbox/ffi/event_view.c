/*
 * The Python module `microbox._event_view`: what a handler of single events costs most, in C.
 *
 *     Field(offset, format)   a property of a View: a number, or bytes, in the entry being shown
 *     View(deliveries)        whose fields those are: an event, its flow, a side
 *     Deliveries              which delivery is being shown, and the loop over a poll's
 *
 * All else goes through cffi (`microbox._core`). A path of cffi's like
 * entry.payload.tcp_data.offset makes an object and looks a name up at each step, and costs more
 * than the rest of an event.
 *
 * Entries are read-only shared memory that the bus has checked; a field lies within its entry.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "microbox/bus/reader.h"

#include <stdbool.h>
#include <string.h>

enum { ADDRESS_SIZE = 16, KEY_TYPE_BITS = 16 };

struct deliveries {
    PyObject ob_base;
    const struct mb_delivery *array; /* of the last poll; the reader's */
    const struct mb_entry *entry;    /* being shown; NULL before the first one */
    struct mb_nf_counters *counters; /* the reader's */
    Py_ssize_t index;                /* of the delivery being shown, -1 before the first one */
    PyObject *calls;                 /* mapping: key → (function, event, name) */
    PyObject *left;                  /* dict: flows that the NF has left in this poll */
    PyObject *views;                 /* list: views of shared memory that a handler has */
    PyObject *pass;                  /* the verdict that says as little as None does */
    PyObject *call;                  /* of the delivery being shown; NULL: not looked up */
    PyObject *verdict;               /* what the call returned; NULL: it was not made */
};

struct view {
    PyObject ob_base;
    struct deliveries *deliveries;
};

struct field {
    PyObject ob_base;
    Py_ssize_t offset;
    Py_ssize_t size;
    char format; /* as in Python's `struct`; 's': bytes */
    PyObject *doc;
};

static PyTypeObject deliveries_type, view_type, field_type;

/* --- Field --- */

static Py_ssize_t size_of_format(const char *format) {
    if (strcmp(format, "16s") == 0)
        return ADDRESS_SIZE;
    if (strlen(format) != 1)
        return 0;
    switch (*format) {
    case 'B':
    case 'b':
        return 1;
    case 'H':
    case 'h':
        return 2;
    case 'I':
    case 'i':
        return 4;
    case 'Q':
    case 'q':
    case 'd':
        return 8;
    default:
        return 0;
    }
}

static PyObject *field_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"offset", "format", "doc", NULL};
    Py_ssize_t offset;
    const char *format;
    PyObject *doc = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "ns|O", names, &offset, &format, &doc))
        return NULL;
    const Py_ssize_t size = size_of_format(format);
    if (size == 0)
        return PyErr_Format(PyExc_ValueError, "a field has no format '%s'", format);
    if (offset < 0 || offset + size > (Py_ssize_t)sizeof(struct mb_entry))
        return PyErr_Format(PyExc_ValueError, "offset %zd lies outside an entry", offset);
    struct field *field = (struct field *)type->tp_alloc(type, 0);
    if (field == NULL)
        return NULL;
    field->offset = offset;
    field->size = size;
    field->format = format[strlen(format) - 1];
    field->doc = Py_NewRef(doc);
    return (PyObject *)field;
}

static void field_dealloc(struct field *field) {
    Py_XDECREF(field->doc);
    Py_TYPE(field)->tp_free(field);
}

#define READ(type, make)                                                                           \
    do {                                                                                           \
        type value;                                                                                \
        memcpy(&value, at, sizeof value);                                                          \
        return make(value);                                                                        \
    } while (0)

static PyObject *read_field(const struct field *field, const struct mb_entry *entry) {
    const char *at = (const char *)entry + field->offset;
    switch (field->format) {
    case 'B':
        READ(uint8_t, PyLong_FromLong);
    case 'H':
        READ(uint16_t, PyLong_FromLong);
    case 'I':
        READ(uint32_t, PyLong_FromUnsignedLong);
    case 'Q':
        READ(uint64_t, PyLong_FromUnsignedLongLong);
    case 'b':
        READ(int8_t, PyLong_FromLong);
    case 'h':
        READ(int16_t, PyLong_FromLong);
    case 'i':
        READ(int32_t, PyLong_FromLong);
    case 'q':
        READ(int64_t, PyLong_FromLongLong);
    case 'd':
        READ(double, PyFloat_FromDouble);
    default:
        return PyBytes_FromStringAndSize(at, field->size);
    }
}

static const struct deliveries *deliveries_of(PyObject *object) {
    if (PyObject_TypeCheck(object, &view_type))
        return ((struct view *)object)->deliveries;
    if (PyObject_TypeCheck(object, &deliveries_type))
        return (struct deliveries *)object;
    PyErr_Format(PyExc_TypeError, "a field of an event, asked of a '%s'", Py_TYPE(object)->tp_name);
    return NULL;
}

static PyObject *field_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(owner)) {
    if (object == NULL || object == Py_None)
        return Py_NewRef(self);
    const struct deliveries *deliveries = deliveries_of(object);
    if (deliveries == NULL)
        return NULL;
    if (deliveries->entry == NULL) {
        PyErr_SetString(PyExc_LookupError, "there is no event yet");
        return NULL;
    }
    return read_field((struct field *)self, deliveries->entry);
}

static int field_set(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(object),
                     PyObject *Py_UNUSED(value)) {
    PyErr_SetString(PyExc_AttributeError, "an event cannot be changed");
    return -1;
}

static PyMemberDef field_members[] = {
    {"__doc__", T_OBJECT, offsetof(struct field, doc), READONLY, NULL},
    {NULL},
};

static PyTypeObject field_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "microbox._event_view.Field",
    .tp_basicsize = sizeof(struct field),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = field_new,
    .tp_dealloc = (destructor)field_dealloc,
    .tp_members = field_members,
    .tp_descr_get = field_get,
    .tp_descr_set = field_set,
};

/* --- View --- */

/* The first argument; a subclass may take others as well. */
static PyObject *view_new(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(keywords)) {
    if (PyTuple_GET_SIZE(arguments) == 0 ||
        !PyObject_TypeCheck(PyTuple_GET_ITEM(arguments, 0), &deliveries_type))
        return PyErr_Format(PyExc_TypeError, "a view's first argument is its deliveries");
    struct view *view = (struct view *)type->tp_alloc(type, 0);
    if (view != NULL)
        view->deliveries = (struct deliveries *)Py_NewRef(PyTuple_GET_ITEM(arguments, 0));
    return (PyObject *)view;
}

static int view_traverse(struct view *view, visitproc visit, void *arg) {
    Py_VISIT(view->deliveries);
    return 0;
}

static void view_dealloc(struct view *view) {
    PyObject_GC_UnTrack(view);
    Py_CLEAR(view->deliveries);
    Py_TYPE(view)->tp_free(view);
}

static PyMemberDef view_members[] = {
    {"_deliveries", T_OBJECT_EX, offsetof(struct view, deliveries), READONLY, NULL},
    {NULL},
};

/* No tp_clear: a view always has its deliveries, which let go of theirs. */
static PyTypeObject view_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "microbox._event_view.View",
    .tp_basicsize = sizeof(struct view),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = view_new,
    .tp_dealloc = (destructor)view_dealloc,
    .tp_traverse = (traverseproc)view_traverse,
    .tp_members = view_members,
};

/* --- Deliveries --- */

static PyObject *deliveries_new(PyTypeObject *type, PyObject *Py_UNUSED(arguments),
                                PyObject *Py_UNUSED(keywords)) {
    struct deliveries *deliveries = (struct deliveries *)type->tp_alloc(type, 0);
    if (deliveries != NULL)
        deliveries->index = -1;
    return (PyObject *)deliveries;
}

static int deliveries_traverse(struct deliveries *deliveries, visitproc visit, void *arg) {
    Py_VISIT(deliveries->calls);
    Py_VISIT(deliveries->left);
    Py_VISIT(deliveries->views);
    Py_VISIT(deliveries->pass);
    Py_VISIT(deliveries->call);
    Py_VISIT(deliveries->verdict);
    return 0;
}

static int deliveries_clear(struct deliveries *deliveries) {
    Py_CLEAR(deliveries->calls);
    Py_CLEAR(deliveries->left);
    Py_CLEAR(deliveries->views);
    Py_CLEAR(deliveries->pass);
    Py_CLEAR(deliveries->call);
    Py_CLEAR(deliveries->verdict);
    return 0;
}

static void deliveries_dealloc(struct deliveries *deliveries) {
    PyObject_GC_UnTrack(deliveries);
    deliveries_clear(deliveries);
    Py_TYPE(deliveries)->tp_free(deliveries);
}

PyDoc_STRVAR(bind_doc,
             "bind(array, counters, calls, left, views, passing)\n\n"
             "`array`, `counters`: addresses of the reader's. `passing`: what a handler may "
             "return in the place of\nNone. Before anything is shown.");

static PyObject *deliveries_bind(struct deliveries *deliveries, PyObject *arguments) {
    unsigned long long array, counters;
    PyObject *calls, *left, *views, *pass;
    if (!PyArg_ParseTuple(arguments, "KKO!O!O!O", &array, &counters, &PyDict_Type, &calls,
                          &PyDict_Type, &left, &PyList_Type, &views, &pass))
        return NULL;
    deliveries->array = (const struct mb_delivery *)(uintptr_t)array;
    deliveries->counters = (struct mb_nf_counters *)(uintptr_t)counters;
    Py_XSETREF(deliveries->calls, Py_NewRef(calls));
    Py_XSETREF(deliveries->left, Py_NewRef(left));
    Py_XSETREF(deliveries->views, Py_NewRef(views));
    Py_XSETREF(deliveries->pass, Py_NewRef(pass));
    Py_RETURN_NONE;
}

static bool is_bound(const struct deliveries *deliveries) {
    if (deliveries->array == NULL || deliveries->calls == NULL)
        PyErr_SetString(PyExc_RuntimeError, "deliveries that are not bound");
    return deliveries->array != NULL && deliveries->calls != NULL;
}

static void show(struct deliveries *deliveries, Py_ssize_t index) {
    deliveries->index = index;
    deliveries->entry = deliveries->array[index].entry;
}

PyDoc_STRVAR(show_doc, "show(index)\n\nPoints all views at one delivery of the last poll.");

static PyObject *deliveries_show(struct deliveries *deliveries, PyObject *argument) {
    const Py_ssize_t index = PyLong_AsSsize_t(argument);
    if ((index == -1 && PyErr_Occurred()) || !is_bound(deliveries))
        return NULL;
    show(deliveries, index);
    Py_RETURN_NONE;
}

/* The call that the key of a delivery leads to, a new reference. */
static PyObject *look_up(const struct deliveries *deliveries, uint64_t key) {
    PyObject *number = PyLong_FromUnsignedLongLong(key);
    if (number == NULL)
        return NULL;
    PyObject *call = PyObject_GetItem(deliveries->calls, number);
    Py_DECREF(number);
    if (call != NULL && (!PyTuple_CheckExact(call) || PyTuple_GET_SIZE(call) != 3)) {
        PyErr_SetString(PyExc_TypeError, "a call is a function, an event and a name");
        Py_CLEAR(call);
    }
    return call;
}

/* 1: the NF has left the flow in this poll; 0: no; -1: an exception. */
static int is_left(const struct deliveries *deliveries) {
    if (PyDict_GET_SIZE(deliveries->left) == 0)
        return 0;
    PyObject *flow = PyLong_FromUnsignedLongLong(deliveries->entry->flow);
    if (flow == NULL)
        return -1;
    const int found = PyDict_Contains(deliveries->left, flow);
    Py_DECREF(flow);
    return found;
}

/* Calls the handler of the delivery being shown. A call without an event counts for itself. */
static bool call_handler(struct deliveries *deliveries) {
    PyObject *event = PyTuple_GET_ITEM(deliveries->call, 1);
    PyObject *call = Py_NewRef(deliveries->call);
    deliveries->verdict = PyObject_CallOneArg(PyTuple_GET_ITEM(call, 0), event);
    if (deliveries->verdict != NULL && event != Py_None)
        deliveries->counters->handled++;
    Py_DECREF(call);
    return deliveries->verdict != NULL;
}

static bool says_nothing(const struct deliveries *deliveries) {
    return deliveries->verdict == Py_None || deliveries->verdict == deliveries->pass;
}

PyDoc_STRVAR(
    run_doc,
    "run(start, end)\n\n"
    "Calls the handlers of the deliveries [start, end), one after the other. Returns `end`,"
    " or the index of\nthe first one that has to be looked at: it returned a verdict other than "
    "`passing`, or "
    "has views of shared memory,\nor was not called (`was_called`) since its flow was left. "
    "Raises what a handler raised.");

static PyObject *deliveries_run(struct deliveries *deliveries, PyObject *const *arguments,
                                Py_ssize_t count) {
    if (count != 2 || !is_bound(deliveries))
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "run(start, end)");
    const Py_ssize_t start = PyLong_AsSsize_t(arguments[0]);
    const Py_ssize_t end = PyLong_AsSsize_t(arguments[1]);
    if (PyErr_Occurred())
        return NULL;
    uint64_t last_key = UINT64_MAX;
    for (Py_ssize_t index = start; index < end; index++) {
        show(deliveries, index);
        const struct mb_delivery *delivery = &deliveries->array[index];
        const uint64_t key = (uint64_t)delivery->bits << KEY_TYPE_BITS | deliveries->entry->type;
        if (key != last_key) {
            PyObject *call = look_up(deliveries, key);
            if (call == NULL)
                return NULL;
            Py_XSETREF(deliveries->call, call);
            last_key = key;
        }
        Py_CLEAR(deliveries->verdict);
        const int left = is_left(deliveries);
        if (left < 0)
            return NULL;
        if (left > 0)
            return PyLong_FromSsize_t(index);
        if (!call_handler(deliveries))
            return NULL;
        if (!says_nothing(deliveries) || PyList_GET_SIZE(deliveries->views) != 0)
            return PyLong_FromSsize_t(index);
    }
    return PyLong_FromSsize_t(end);
}

static PyObject *deliveries_was_called(struct deliveries *deliveries, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(deliveries->verdict != NULL);
}

static PyMethodDef deliveries_methods[] = {
    {"bind", (PyCFunction)deliveries_bind, METH_VARARGS, bind_doc},
    {"show", (PyCFunction)deliveries_show, METH_O, show_doc},
    {"run", (PyCFunction)(void (*)(void))deliveries_run, METH_FASTCALL, run_doc},
    {NULL},
};

static PyMemberDef deliveries_members[] = {
    {"index", T_PYSSIZET, offsetof(struct deliveries, index), READONLY, NULL},
    {"call", T_OBJECT_EX, offsetof(struct deliveries, call), READONLY, NULL},
    {"verdict", T_OBJECT, offsetof(struct deliveries, verdict), READONLY, NULL},
    {"views", T_OBJECT_EX, offsetof(struct deliveries, views), READONLY, NULL},
    {NULL},
};

static PyGetSetDef deliveries_getset[] = {
    {"was_called", (getter)deliveries_was_called, NULL, NULL, NULL},
    {NULL},
};

static PyTypeObject deliveries_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "microbox._event_view.Deliveries",
    .tp_basicsize = sizeof(struct deliveries),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = deliveries_new,
    .tp_dealloc = (destructor)deliveries_dealloc,
    .tp_traverse = (traverseproc)deliveries_traverse,
    .tp_clear = (inquiry)deliveries_clear,
    .tp_methods = deliveries_methods,
    .tp_members = deliveries_members,
    .tp_getset = deliveries_getset,
};

/* --- the module --- */

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "microbox._event_view",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__event_view(void) {
    PyObject *module = PyModule_Create(&module_definition);
    if (module == NULL)
        return NULL;
    if (PyModule_AddType(module, &field_type) < 0 || PyModule_AddType(module, &view_type) < 0 ||
        PyModule_AddType(module, &deliveries_type) < 0)
        Py_CLEAR(module);
    return module;
}
