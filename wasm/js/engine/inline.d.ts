// The engine as text, for bundlers that leave files behind: the build makes it.

declare const packed: string
export default packed
