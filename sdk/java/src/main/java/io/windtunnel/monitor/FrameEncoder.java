package io.windtunnel.monitor;

import java.util.LinkedHashMap;
import java.util.Map;

/** Encodes frames and sensor readings as the messages of edge.proto, into a chunk. */
final class FrameEncoder {
    private final ProtoBuffer message = new ProtoBuffer();
    private final ProtoBuffer part = new ProtoBuffer();
    private final ProtoBuffer scratch = new ProtoBuffer();

    /** Adds a frame; its arrays belong to the chunk then. */
    void add(FrameData frame, long lost, long memory, Chunk chunk) {
        message.clear();
        message.uint(1, frame.number);
        message.time(2, frame.time);
        message.uint(3, frame.level.code);
        int[] ends = new int[frame.tensors.size()];
        long values = addTensors(frame, ends);
        for (FrameData.Timing timing : frame.timings) {
            add(timing);
        }
        message.uint(6, memory);
        addValues(frame);
        if (frame.labeled) {
            message.varint(8 << 3);
            message.varint(frame.label);
        }
        message.uint(9, lost);
        for (String item : frame.leftOut) {
            message.textAlways(10, item);
        }
        message.fixed64(11, frame.sampleRate);
        chunk.message(McapFile.FRAMES, frame.number, frame.time, message.size + values);
        place(frame, ends, chunk);
    }

    /** Encodes tensors; {@code ends[i]} is where the values of tensor i belong. Returns the bytes of all values. */
    private long addTensors(FrameData frame, int[] ends) {
        long values = 0;
        for (int i = 0; i < ends.length; i++) {
            TensorRecord tensor = frame.tensors.get(i);
            tensor.encode(part.clear(), scratch);
            long bytes = tensor.array == null ? 0 : (long) tensor.count * tensor.element.bytes;
            message.head(4, part.size + (bytes == 0 ? 0 : ProtoBuffer.headLength(5, bytes) + bytes));
            message.bytes(part.data, part.size);
            if (bytes > 0) {
                message.head(5, bytes);
            }
            values += bytes;
            ends[i] = message.size;
        }
        return values;
    }

    private void place(FrameData frame, int[] ends, Chunk chunk) {
        int done = 0;
        for (int i = 0; i < ends.length; i++) {
            TensorRecord tensor = frame.tensors.get(i);
            if (tensor.array != null) {
                chunk.data(message.data, done, ends[i]);
                chunk.values(tensor.element, tensor.array, tensor.count);
                tensor.array = null;
                done = ends[i];
            }
        }
        chunk.data(message.data, done, message.size);
    }

    private void add(FrameData.Timing timing) {
        part.clear();
        part.uint(1, timing.kind);
        part.text(2, timing.name);
        part.time(3, timing.elapsed);
        if (timing.begin != 0) {
            part.time(4, timing.begin);
        }
        part.text(5, timing.op);
        message.message(5, part);
    }

    private void addValues(FrameData frame) {
        if (frame.values.isEmpty()) {
            return;
        }
        Map<String, String> last = new LinkedHashMap<String, String>();
        for (int i = 0; i < frame.values.size(); i += 2) {
            last.put(frame.values.get(i), frame.values.get(i + 1));
        }
        for (Map.Entry<String, String> value : last.entrySet()) {
            part.clear();
            part.text(1, value.getKey());
            part.text(2, value.getValue());
            message.message(7, part);
        }
    }

    /** Adds a sensor reading. */
    void add(Recorder.Reading reading, long sequence, Chunk chunk) {
        message.clear();
        message.time(1, reading.time);
        message.text(2, reading.sensor);
        message.doubles(3, reading.values);
        chunk.message(McapFile.READINGS, sequence, reading.time, message.size);
        chunk.data(message.data, 0, message.size);
    }
}
