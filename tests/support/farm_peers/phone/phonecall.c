/* A command of the phone that the test answers: hands its arguments, its environment and its three streams to the fake
   phone over a socket, waits, and ends as it is told to. Killed, it takes the socket along, and the phone notices. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char blob[1 << 20];

static size_t add(size_t at, const char *text) {
    size_t length = strlen(text) + 1;
    if (at + length > sizeof blob) exit(126);
    memcpy(blob + at, text, length);
    return at + length;
}

static int send_streams(int to, unsigned length) {
    char room[CMSG_SPACE(3 * sizeof(int))] = {0};
    struct iovec piece = {&length, sizeof length};
    struct msghdr message = {0};
    int streams[3] = {0, 1, 2};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof streams);
    memcpy(CMSG_DATA(header), streams, sizeof streams);
    return sendmsg(to, &message, MSG_NOSIGNAL) == sizeof length ? 0 : -1;
}

int main(int argc, char **argv, char **environment) {
    struct sockaddr_un phone = {AF_UNIX, "/dev/socket/phone"};
    char number[16], folder[4096] = "/";
    int call = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(call, (struct sockaddr *)&phone, sizeof phone)) {
        fprintf(stderr, "%s: Can't find service\n", argv[0]);
        return 20;
    }
    if (!getcwd(folder, sizeof folder)) return 126;
    snprintf(number, sizeof number, "%d", argc);
    size_t length = add(add(0, folder), number);
    for (int i = 0; i < argc; i++) length = add(length, argv[i]);
    for (; *environment; environment++) length = add(length, *environment);
    if (send_streams(call, (unsigned)length)) return 126;
    for (size_t sent = 0; sent < length;) {
        ssize_t done = send(call, blob + sent, length - sent, MSG_NOSIGNAL);
        if (done <= 0) return 126;
        sent += (size_t)done;
    }
    unsigned char answer[2];
    if (recv(call, answer, 2, MSG_WAITALL) != 2) return 255;
    if (answer[0] == 's') {
        signal(answer[1], SIG_DFL);
        kill(getpid(), answer[1]);
        pause();
    }
    return answer[1];
}
