package io.windtunnel.monitor;

import java.io.IOException;
import java.nio.charset.Charset;
import java.util.List;
import java.util.zip.CRC32;

/** Asks the app's redaction hook what may be recorded of a tensor. If the hook fails, nothing is. */
final class Redactor {
    private static final Charset UTF_8 = Charset.forName("UTF-8");

    private Redactor() {}

    static void redact(Monitor.Redaction hook, TensorRecord tensor, List<String> leftOut, ArrayPool pool) {
        Object pooled = tensor.array;
        Object given = exact(tensor);
        Object allowed;
        long before = checksum(tensor.element, given);
        try {
            allowed = hook.redact(tensor.role.label, tensor.name, given);
        } catch (Throwable thrown) {
            leftOut.add(tensor.label() + ": the redaction hook failed: " + thrown);
            allowed = null;
        }
        if (allowed == given && checksum(tensor.element, given) == before) {
            return;
        }
        tensor.redacted = true;
        tensor.array = null;
        pool.give(pooled);
        Values values = allowed == null ? null
                : Values.of(allowed, tensor.element, tensor.shape, tensor.element);
        if (values == null) {
            tensor.element = null;
            tensor.shape = new int[0];
            tensor.count = 0;
            return;
        }
        Object place = pool.take(values.element, values.count);
        if (place == null) {
            leftOut.add(tensor.label() + ": over the memory bound");
            return;
        }
        values.copy(0, values.count, place);
        tensor.array = place;
        tensor.count = values.count;
        tensor.element = values.element;
        if (Values.product(tensor.shape) != values.count) {
            tensor.shape = values.element == Element.TEXT ? new int[0] : new int[] {values.count};
        }
    }

    /** A copy for the hook: its length is the tensor's, and it may keep it. Text is a string. */
    private static Object exact(TensorRecord tensor) {
        Values values = Values.ofArray(tensor.element, tensor.count, tensor.shape, tensor.array);
        Object copy = Values.newArray(tensor.element, tensor.count);
        values.copy(0, tensor.count, copy);
        return tensor.element == Element.TEXT ? new String((byte[]) copy, UTF_8) : copy;
    }

    private static long checksum(Element element, Object array) {
        if (array instanceof String) {
            return array.hashCode();
        }
        final CRC32 crc = new CRC32();
        Chunk chunk = new Chunk();
        chunk.values(element, array, java.lang.reflect.Array.getLength(array));
        try {
            chunk.writeTo(new Chunk.Sink() {
                @Override
                public void bytes(byte[] data, int offset, int length) {
                    crc.update(data, offset, length);
                }
            });
        } catch (IOException impossible) {
            throw new IllegalStateException(impossible);
        }
        return crc.getValue();
    }
}
