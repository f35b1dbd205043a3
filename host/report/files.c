#include "report/files.h"

mmrec_status mmrec_file_write(mmrec_io *io, const char *path, mmrec_status made, mmrec_buffer *text,
                              mmrec_error *error) {
    mmrec_status status = made;
    if (status == MMREC_OK) status = mmrec_io_write_file(io, path, text->data, text->size, error);
    mmrec_buffer_free(text);
    return status;
}

mmrec_error *mmrec_files_error(const mmrec_files *files) { return files->first == MMREC_OK ? files->error : NULL; }

void mmrec_files_note(mmrec_files *files, mmrec_status status) {
    if (files->first == MMREC_OK) files->first = status;
}

void mmrec_files_write(mmrec_files *files, const char *path, mmrec_status made, mmrec_buffer *text) {
    mmrec_files_note(files, mmrec_file_write(files->io, path, made, text, mmrec_files_error(files)));
}
