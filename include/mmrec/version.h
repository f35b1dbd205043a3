/* Which mmrec this is. */
#ifndef MMREC_VERSION_H
#define MMREC_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0": major.minor.patch of the build. */
const char *mmrec_version(void);

#ifdef __cplusplus
}
#endif
#endif
