#include "runtime/base/result.h"
