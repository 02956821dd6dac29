// The floor of an import: the least that any import of these layers must do. Every layer on a thread of its own: its file
// is read, unpacked into another file, and the digests of both streams are taken. No directory, no inode, no fsync.
//
//   floor OUT LAYER…     gzip or zstd; prints `LAYER-DIGEST UNPACKED-DIGEST BYTES` a line
//
// cc -O2 floor.c -lisal -lzstd -lcrypto -lpthread
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { PIECE = 1 << 20 };

struct layer {
  const char *path;
  char out[4096];
  unsigned char packed[32], unpacked[32];
  long long bytes;
  pthread_t thread;
};

static void fail(const char *what, const char *name) {
  fprintf(stderr, "floor: %s %s: %s\n", what, name, strerror(errno));
  exit(1);
}

static void put(struct layer *layer, int out, EVP_MD_CTX *digest, const void *bytes, size_t count) {
  EVP_DigestUpdate(digest, bytes, count);
  layer->bytes += count;
  for (size_t done = 0; done < count;) {
    ssize_t written = write(out, (const char *)bytes + done, count - done);
    if (written < 0) fail("write", layer->out);
    done += written;
  }
}

static void inflate_gzip(struct layer *layer, struct inflate_state *state, unsigned char *buffer, int out,
                         EVP_MD_CTX *digest) {
  do {
    state->next_out = buffer;
    state->avail_out = PIECE;
    if (isal_inflate(state) != ISAL_DECOMP_OK) fail("unpack", layer->path);
    put(layer, out, digest, buffer, PIECE - state->avail_out);
  } while (state->avail_in > 0 || state->avail_out == 0);
}

static void *run(void *argument) {
  struct layer *layer = argument;
  int in = open(layer->path, O_RDONLY);
  if (in < 0) fail("open", layer->path);
  int out = open(layer->out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (out < 0) fail("make", layer->out);
  unsigned char *input = malloc(PIECE), *buffer = malloc(PIECE);
  EVP_MD_CTX *packed = EVP_MD_CTX_new(), *unpacked = EVP_MD_CTX_new();
  EVP_DigestInit_ex(packed, EVP_sha256(), NULL);
  EVP_DigestInit_ex(unpacked, EVP_sha256(), NULL);
  struct inflate_state *gzip = malloc(sizeof *gzip);
  isal_inflate_init(gzip);
  gzip->crc_flag = ISAL_GZIP;
  ZSTD_DStream *zstd = ZSTD_createDStream();
  int is_zstd = -1;
  ssize_t count;
  while ((count = read(in, input, PIECE)) > 0) {
    EVP_DigestUpdate(packed, input, count);
    if (is_zstd < 0) is_zstd = input[0] == 0x28;
    if (!is_zstd) {
      gzip->next_in = input;
      gzip->avail_in = count;
      inflate_gzip(layer, gzip, buffer, out, unpacked);
      continue;
    }
    ZSTD_inBuffer from = {input, count, 0};
    while (from.pos < from.size) {
      ZSTD_outBuffer to = {buffer, PIECE, 0};
      if (ZSTD_isError(ZSTD_decompressStream(zstd, &to, &from))) fail("unpack", layer->path);
      put(layer, out, unpacked, buffer, to.pos);
    }
  }
  if (count < 0) fail("read", layer->path);
  EVP_DigestFinal_ex(packed, layer->packed, NULL);
  EVP_DigestFinal_ex(unpacked, layer->unpacked, NULL);
  close(in);
  if (close(out) != 0) fail("close", layer->out);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: floor OUT LAYER...\n");
    return 2;
  }
  struct layer *layers = calloc(argc, sizeof *layers);
  for (int i = 2; i < argc; i++) {
    layers[i].path = argv[i];
    snprintf(layers[i].out, sizeof layers[i].out, "%s/%d.tar", argv[1], i - 2);
    if (pthread_create(&layers[i].thread, NULL, run, &layers[i]) != 0) fail("thread for", argv[i]);
  }
  for (int i = 2; i < argc; i++) {
    pthread_join(layers[i].thread, NULL);
    for (int j = 0; j < 32; j++) printf("%02x", layers[i].packed[j]);
    printf(" ");
    for (int j = 0; j < 32; j++) printf("%02x", layers[i].unpacked[j]);
    printf(" %lld\n", layers[i].bytes);
  }
  return 0;
}
