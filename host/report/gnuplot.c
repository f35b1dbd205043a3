#include "report/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { WAITS = 600, WAIT_NS = 100000000 };

/* Waits for at most a minute, then ends it: a terminal that asks somebody must not hold up a report. -1: it had to. */
static int wait_for(pid_t child) {
    int status = 0;
    for (int i = 0; i < WAITS; i++) {
        pid_t got = waitpid(child, &status, WNOHANG);
        if (got == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (got < 0 && errno != EINTR) return -1;
        struct timespec pause = {0, i < 50 ? WAIT_NS / 10 : WAIT_NS};
        nanosleep(&pause, NULL);
    }
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return -1;
}

/* No shell; in the folder, with nothing to read and nowhere to write but its files. */
static int spawn(const char *program, const char *folder, pid_t *child) {
    char name[256], script[] = "plot.gp";
    char *const arguments[] = {name, script, NULL};
    posix_spawn_file_actions_t actions;
    snprintf(name, sizeof name, "%s", program);
    int fault = posix_spawn_file_actions_init(&actions);
    if (fault != 0) return fault;
    fault = posix_spawn_file_actions_addchdir_np(&actions, folder);
    for (int fd = 0; fd <= 2 && fault == 0; fd++)
        fault = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
    if (fault == 0) fault = posix_spawnp(child, name, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return fault;
}

void mmrec_gnuplot(const char *program, const char *folder, char note[MMREC_GNUPLOT_NOTE]) {
    pid_t child = 0;
    int fault = spawn(program, folder, &child);
    note[0] = '\0';
    if (fault == ENOENT) {
        snprintf(note, MMREC_GNUPLOT_NOTE, "no gnuplot; where there is one, `gnuplot plot.gp` draws them");
    } else if (fault != 0) {
        snprintf(note, MMREC_GNUPLOT_NOTE, "gnuplot cannot be started (%.60s)", strerror(fault));
    } else {
        int code = wait_for(child);
        if (code < 0) snprintf(note, MMREC_GNUPLOT_NOTE, "gnuplot did not end within a minute");
        if (code > 0)
            snprintf(note, MMREC_GNUPLOT_NOTE, "gnuplot ended with status %d; `gnuplot plot.gp` says why", code);
    }
}
