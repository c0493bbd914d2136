#include "runtime/kernels/matrix.h"
