/*
 * What users' modules get of a stack (module.h).
 */
#ifndef MICROBOX_STACK_MODULE_SERVICES_H
#define MICROBOX_STACK_MODULE_SERVICES_H

#include "microbox/stack/module.h"

extern const struct mb_module_services mb_module_services;

#endif
