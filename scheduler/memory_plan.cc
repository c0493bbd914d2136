#include "runtime/base/align.h"
