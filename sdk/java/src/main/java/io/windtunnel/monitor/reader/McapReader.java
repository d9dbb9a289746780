package io.windtunnel.monitor.reader;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.zip.CRC32;

/** Goes through an MCAP file in order; skips what is damaged or cut off, and reports it. */
final class McapReader {
    /** Receives what the file has. */
    interface Handler {
        void header(String profile, String library);

        void schema(int id, String name, String encoding, byte[] data);

        void channel(int id, int schema, String topic, String encoding, Map<String, String> metadata);

        void message(int channel, long sequence, long logTime, long publishTime, byte[] data);

        void metadata(String name, Map<String, String> values);

        void problem(String words);
    }

    private static final Charset UTF_8 = Charset.forName("UTF-8");
    private static final byte[] MAGIC = {(byte) 0x89, 'M', 'C', 'A', 'P', '0', '\r', '\n'};
    private static final int HEADER = 0x01;
    private static final int FOOTER = 0x02;
    private static final int SCHEMA = 0x03;
    private static final int CHANNEL = 0x04;
    private static final int MESSAGE = 0x05;
    private static final int CHUNK = 0x06;
    private static final int CHUNK_INDEX = 0x08;
    private static final int ATTACHMENT_INDEX = 0x0A;
    private static final int STATISTICS = 0x0B;
    private static final int METADATA = 0x0C;
    private static final int DATA_END = 0x0F;
    private static final int HEAD = 9;
    /** Fields of a chunk without compression before its records. */
    private static final int CHUNK_HEAD = 8 + 8 + 8 + 4 + 4 + 8;

    private final ByteBuffer file;
    private final Handler handler;

    McapReader(byte[] bytes, Handler handler) {
        file = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        this.handler = handler;
    }

    void read() {
        int at = isMagic() ? MAGIC.length : damaged(0, "the file does not begin as an MCAP file");
        // The end of the last chunk with a right CRC: where to search from if a length turns out to be wrong.
        int trusted = at;
        while (at < file.limit()) {
            if (!isRecord(at)) {
                at = damaged(trusted, "a record is damaged or cut off");
                trusted = at;
                continue;
            }
            int opcode = file.get(at) & 0xFF;
            int length = (int) file.getLong(at + 1);
            boolean sound = isSoundChunk(at);
            if (sound && opcode != CHUNK) {
                handler.problem("the kind of the record at byte " + at + " is damaged: it is a chunk");
                opcode = CHUNK;
            }
            if (opcode == DATA_END || opcode == FOOTER) {
                return;
            }
            record(opcode, at + HEAD, length);
            at += HEAD + length;
            trusted = sound ? at : trusted;
        }
    }

    private boolean isMagic() {
        for (int i = 0; i < MAGIC.length; i++) {
            if (file.limit() <= i || file.get(i) != MAGIC[i]) {
                return false;
            }
        }
        return true;
    }

    private boolean isRecord(int at) {
        if (file.limit() - at < HEAD) {
            return false;
        }
        int opcode = file.get(at) & 0xFF;
        long length = file.getLong(at + 1);
        // Records of the summary have no place before the end of the data, at which the reader stops.
        boolean known = opcode >= 0x80 || opcode == DATA_END && length == 4 || opcode == FOOTER && length == 20
                || opcode != 0 && opcode <= METADATA && opcode != FOOTER && opcode != CHUNK_INDEX && opcode != STATISTICS
                && opcode != ATTACHMENT_INDEX;
        return (known || isSoundChunk(at)) && length >= 0 && length <= file.limit() - at - HEAD;
    }

    /** Reports a damaged place; gives the next one at which a chunk with a right CRC begins, or the end. */
    private int damaged(int from, String why) {
        int next = from;
        while (next < file.limit() && !(file.get(next) == CHUNK && isSoundChunk(next))) {
            next++;
        }
        handler.problem(why + ": " + (next - from) + " bytes from byte " + from + " on are skipped");
        return next;
    }

    /** Whether a record has the lengths and the CRC of a chunk without compression. */
    private boolean isSoundChunk(int at) {
        if (file.limit() - at < HEAD + CHUNK_HEAD) {
            return false;
        }
        long length = file.getLong(at + 1);
        int content = at + HEAD;
        return length >= CHUNK_HEAD
                && length <= file.limit() - content
                && file.getInt(content + 28) == 0
                && file.getLong(content + 32) == length - CHUNK_HEAD
                && file.getLong(content + 16) == length - CHUNK_HEAD
                && file.getInt(content + 24) == crc(content + CHUNK_HEAD, (int) length - CHUNK_HEAD);
    }

    private int crc(int from, int length) {
        CRC32 crc = new CRC32();
        crc.update(file.array(), from, length);
        return (int) crc.getValue();
    }

    private void record(int opcode, int at, int length) {
        Part part = new Part(at, length);
        try {
            switch (opcode) {
                case HEADER:
                    handler.header(part.string(), part.string());
                    break;
                case CHUNK:
                    chunk(part);
                    break;
                case METADATA:
                    handler.metadata(part.string(), part.map());
                    break;
                default:
                    dataRecord(opcode, part);
            }
        } catch (RuntimeException damaged) {
            handler.problem("a record of " + length + " bytes at byte " + at + " is damaged: it is skipped");
        }
    }

    private void dataRecord(int opcode, Part part) {
        switch (opcode) {
            case SCHEMA:
                handler.schema(part.u16(), part.string(), part.string(), part.bytes(part.u32()));
                break;
            case CHANNEL:
                handler.channel(part.u16(), part.u16(), part.string(), part.string(), part.map());
                break;
            case MESSAGE:
                handler.message(part.u16(), part.u32() & 0xFFFFFFFFL, part.u64(), part.u64(), part.rest());
                break;
            default:
                break;
        }
    }

    private void chunk(Part part) {
        part.u64();
        part.u64();
        part.u64();
        int crc = part.u32();
        String compression = part.string();
        long length = part.u64();
        if (!compression.isEmpty()) {
            handler.problem("a chunk with the compression " + compression + " is skipped");
            return;
        }
        if (length != part.left() || crc != 0 && crc != crc(part.at, (int) length)) {
            handler.problem("a chunk of " + length + " bytes at byte " + part.at + " is damaged: it is skipped");
            return;
        }
        while (part.left() >= HEAD) {
            int opcode = part.u8();
            int size = (int) part.u64();
            dataRecord(opcode, new Part(part.at, size));
            part.at += size;
        }
    }

    /** Fields of a record, in order. */
    private final class Part {
        private int at;
        private final int end;

        Part(int at, int length) {
            if (length < 0 || length > file.limit() - at) {
                throw new IllegalArgumentException("a record is longer than the file");
            }
            this.at = at;
            end = at + length;
        }

        int left() {
            return end - at;
        }

        private int take(int size) {
            if (size < 0 || size > left()) {
                throw new IllegalArgumentException("a field is longer than its record");
            }
            int begin = at;
            at += size;
            return begin;
        }

        int u8() {
            return file.get(take(1)) & 0xFF;
        }

        int u16() {
            return file.getShort(take(2)) & 0xFFFF;
        }

        int u32() {
            return file.getInt(take(4));
        }

        long u64() {
            return file.getLong(take(8));
        }

        byte[] bytes(int size) {
            byte[] bytes = new byte[Math.min(Math.max(size, 0), left())];
            System.arraycopy(file.array(), take(size), bytes, 0, size);
            return bytes;
        }

        byte[] rest() {
            return bytes(left());
        }

        String string() {
            return new String(bytes(u32()), UTF_8);
        }

        Map<String, String> map() {
            int length = u32();
            int until = at + length;
            Map<String, String> map = new LinkedHashMap<String, String>();
            while (at < until) {
                String key = string();
                map.put(key, string());
            }
            return map;
        }
    }
}
