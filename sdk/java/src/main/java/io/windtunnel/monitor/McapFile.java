package io.windtunnel.monitor;

import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;

/** One file of an edge log, as docs/edge-log.md says. After each chunk it is complete but for its summary. */
final class McapFile {
    static final int FRAMES = 1;
    static final int READINGS = 2;

    private static final byte[] MAGIC = {(byte) 0x89, 'M', 'C', 'A', 'P', '0', '\r', '\n'};
    private static final int HEADER = 0x01;
    private static final int FOOTER = 0x02;
    private static final int SCHEMA = 0x03;
    private static final int CHANNEL = 0x04;
    private static final int CHUNK = 0x06;
    private static final int MESSAGE_INDEX = 0x07;
    private static final int CHUNK_INDEX = 0x08;
    private static final int STATISTICS = 0x0B;
    private static final int METADATA = 0x0C;
    private static final int METADATA_INDEX = 0x0D;
    private static final int DATA_END = 0x0F;
    /** Opcode and length of a record. */
    private static final int HEAD = 9;
    /** What a summary takes besides its chunk indexes: two schemas, and some small records. */
    private static final long SUMMARY = 6500;
    /** What a file with one chunk takes besides the chunk. */
    static final long LEAST = 3 * SUMMARY;

    final File path;
    private final RandomAccessFile file;
    /** Bytes that are known to be whole; what a failed write left after them is cut off. */
    private long length;
    private final ProtoBuffer record = new ProtoBuffer();
    private final ProtoBuffer summary = new ProtoBuffer();
    private final ProtoBuffer fields = new ProtoBuffer();
    private final List<ProtoBuffer> chunkIndexes = new ArrayList<ProtoBuffer>();
    private final List<ProtoBuffer> metadataIndexes = new ArrayList<ProtoBuffer>();
    private boolean hasReadings;
    private long frameCount;
    private long readingCount;
    private long begin = Long.MAX_VALUE;
    private long end;

    McapFile(File path, String library, Map<String, String> facts) throws IOException {
        this.path = path;
        file = new RandomAccessFile(path, "rw");
        try {
            start(library, facts);
        } catch (IOException failed) {
            file.close();
            path.delete();
            throw failed;
        }
    }

    private void start(String library, Map<String, String> facts) throws IOException {
        file.setLength(0);
        record.bytes(MAGIC, MAGIC.length);
        fields.clear().string("windtunnel.edge/1");
        fields.string(library);
        add(record, HEADER);
        addMetadata(record, 0, "windtunnel.device", facts);
        addChannel(record, FRAMES);
        write(record);
        length = record.size;
    }

    /** Adds a metadata record, and its index for the summary; {@code to} is written at {@code base}. */
    private void addMetadata(ProtoBuffer to, long base, String name, Map<String, String> facts) {
        ProtoBuffer map = new ProtoBuffer();
        for (Map.Entry<String, String> fact : facts.entrySet()) {
            map.string(fact.getKey());
            map.string(fact.getValue());
        }
        fields.clear().string(name);
        fields.u32(map.size);
        fields.bytes(map.data, map.size);
        ProtoBuffer index = new ProtoBuffer();
        int begin = to.size;
        add(to, METADATA);
        index.u64(base + begin);
        index.u64(to.size - begin);
        index.string(name);
        metadataIndexes.add(index);
    }

    /** The schema and the channel of frames or of sensor readings. */
    private void addChannel(ProtoBuffer to, int number) {
        byte[] descriptors = EdgeDescriptors.bytes();
        fields.clear().u16(number);
        fields.string(number == FRAMES ? "windtunnel.v1.EdgeFrame" : "windtunnel.v1.SensorReading");
        fields.string("protobuf");
        fields.u32(descriptors.length);
        fields.bytes(descriptors, descriptors.length);
        add(to, SCHEMA);
        fields.clear().u16(number);
        fields.u16(number);
        fields.string(number == FRAMES ? "/frame" : "/sensor");
        fields.string("protobuf");
        fields.u32(0);
        add(to, CHANNEL);
    }

    /** Adds the record whose content is in {@code fields}. */
    private void add(ProtoBuffer to, int opcode) {
        to.u8(opcode);
        to.u64(fields.size);
        to.bytes(fields.data, fields.size);
    }

    private void write(ProtoBuffer buffer) throws IOException {
        file.write(buffer.data, 0, buffer.size);
    }

    /** What the file takes when it is closed after one more chunk of this size. */
    long lengthWith(long chunk) {
        return length + chunk + SUMMARY + (hasReadings ? 0 : SUMMARY / 2) + 128L * (chunkIndexes.size() + 1);
    }

    boolean hasChunks() {
        return !chunkIndexes.isEmpty();
    }

    /** Frames in it. */
    long frames() {
        return frameCount;
    }

    /** Bytes of it now. */
    long length() {
        return length;
    }

    /** Writes a chunk and its indexes. A failed write leaves the file as it was before. */
    void write(Chunk chunk) throws IOException {
        try {
            append(chunk);
        } catch (IOException failed) {
            file.setLength(length);
            file.seek(length);
            throw failed;
        }
    }

    private void append(Chunk chunk) throws IOException {
        record.clear();
        boolean first = !hasReadings && !chunk.readings.isEmpty();
        if (first) {
            addChannel(record, READINGS);
        }
        long start = length + record.size;
        long size = chunk.size();
        record.u8(CHUNK);
        record.u64(8 + 8 + 8 + 4 + 4 + 8 + size);
        record.u64(chunk.begin);
        record.u64(chunk.end);
        record.u64(size);
        record.u32(crc(chunk));
        record.string("");
        record.u64(size);
        write(record);
        long chunkLength = HEAD + 8 + 8 + 8 + 4 + 4 + 8 + size;
        chunk.writeTo(new Chunk.Sink() {
            @Override
            public void bytes(byte[] data, int offset, int count) throws IOException {
                file.write(data, offset, count);
            }
        });
        ProtoBuffer index = new ProtoBuffer();
        index.u64(chunk.begin);
        index.u64(chunk.end);
        index.u64(start);
        index.u64(chunkLength);
        addIndexes(chunk, start + chunkLength, index, size);
        length = start + chunkLength + record.size;
        hasReadings |= first;
        chunkIndexes.add(index);
        frameCount += chunk.frames.size();
        readingCount += chunk.readings.size();
        begin = Math.min(begin, chunk.begin);
        end = Math.max(end, chunk.end);
    }

    /** Writes the message indexes, and ends the chunk's index. */
    private void addIndexes(Chunk chunk, long at, ProtoBuffer index, long size) throws IOException {
        record.clear();
        int channels = (chunk.frames.isEmpty() ? 0 : 1) + (chunk.readings.isEmpty() ? 0 : 1);
        index.u32(channels * 10);
        for (int channel = FRAMES; channel <= READINGS; channel++) {
            List<long[]> messages = channel == FRAMES ? chunk.frames : chunk.readings;
            if (messages.isEmpty()) {
                continue;
            }
            index.u16(channel);
            index.u64(at + record.size);
            fields.clear().u16(channel);
            fields.u32(messages.size() * 16);
            for (long[] message : messages) {
                fields.u64(message[0]);
                fields.u64(message[1]);
            }
            add(record, MESSAGE_INDEX);
        }
        write(record);
        index.u64(record.size);
        index.string("");
        index.u64(size);
        index.u64(size);
    }

    private static int crc(Chunk chunk) throws IOException {
        final CRC32 crc = new CRC32();
        chunk.writeTo(new Chunk.Sink() {
            @Override
            public void bytes(byte[] data, int offset, int count) {
                crc.update(data, offset, count);
            }
        });
        return (int) crc.getValue();
    }

    /** Writes the summary and closes the file; the file is closed even if there is no room for a summary. */
    void close(Map<String, String> ending) throws IOException {
        try {
            makeSummary(ending);
            write(summary);
        } catch (IOException failed) {
            file.setLength(length);
            throw failed;
        } finally {
            file.close();
        }
    }

    /** Closes the file as it is. */
    void forget() {
        try {
            file.close();
        } catch (IOException failed) {
            // It is gone already.
            return;
        }
    }

    /** The end of the file: DataEnd, summary section, footer with its CRC, magic. */
    private void makeSummary(Map<String, String> ending) {
        summary.clear();
        if (!ending.isEmpty()) {
            addMetadata(summary, length, "windtunnel.end", ending);
        }
        fields.clear().u32(0);
        add(summary, DATA_END);
        int dataEnd = summary.size;
        addChannel(summary, FRAMES);
        if (hasReadings) {
            addChannel(summary, READINGS);
        }
        statistics();
        add(summary, STATISTICS);
        for (ProtoBuffer index : chunkIndexes) {
            fields.clear().bytes(index.data, index.size);
            add(summary, CHUNK_INDEX);
        }
        for (ProtoBuffer index : metadataIndexes) {
            fields.clear().bytes(index.data, index.size);
            add(summary, METADATA_INDEX);
        }
        summary.u8(FOOTER);
        summary.u64(8 + 8 + 4);
        summary.u64(length + dataEnd);
        summary.u64(0);
        CRC32 crc = new CRC32();
        crc.update(summary.data, dataEnd, summary.size - dataEnd);
        summary.u32((int) crc.getValue());
        summary.bytes(MAGIC, MAGIC.length);
    }

    private void statistics() {
        fields.clear().u64(frameCount + readingCount);
        fields.u16(hasReadings ? 2 : 1);
        fields.u32(hasReadings ? 2 : 1);
        fields.u32(0);
        fields.u32(metadataIndexes.size());
        fields.u32(chunkIndexes.size());
        fields.u64(begin == Long.MAX_VALUE ? 0 : begin);
        fields.u64(end);
        fields.u32(hasReadings ? 20 : 10);
        fields.u16(FRAMES);
        fields.u64(frameCount);
        if (hasReadings) {
            fields.u16(READINGS);
            fields.u64(readingCount);
        }
    }
}
