/* The version, from the build (CMakeLists.txt is the one place that states it). */
#include "mmrec/version.h"

const char *mmrec_version(void) { return MMREC_VERSION; }
