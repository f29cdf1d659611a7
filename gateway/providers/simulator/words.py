"""The words the simulator writes with. Plain data; sentences join with one space."""

OPENINGS = (
    "Once upon a time, in a small village by the sea, there lived {hero}.",
    "Far beyond the last hill of the map, {hero} kept a quiet house.",
    "On the first cold morning of the year, {hero} found a letter without a name.",
    "Nobody in the harbour remembered when {hero} had first come to town.",
)
HEROES = (
    "a baker who could hear the tide",
    "an old clockmaker",
    "a girl who collected echoes",
    "a fox with a silver bell",
    "a lighthouse keeper named Ada",
    "two sisters and their patient donkey",
)
TURNS = (
    "Every evening the wind brought a new riddle to the door.",
    "One night a lantern began to glow although nobody had lit it.",
    "A stranger asked for bread, and paid with a story instead of a coin.",
    "The path through the forest was longer than it looked, and kinder.",
    "Some said it was luck; others said it was only careful listening.",
    "By the third day even the crows had grown curious.",
    "At the well, the water answered in a voice like a small bell.",
    "There was no map, so they followed the smell of warm apples.",
)
ENDINGS = (
    "And from that day on, nobody in the village ever closed a door without a smile.",
    "In the end the treasure was the walk home, and they all agreed it was enough.",
    "The lantern still burns, and if you are quiet you can hear it hum.",
    "So they stayed, and the sea kept their secret.",
)
JOKES = (
    "Why did the programmer leave the party early? The drinks were not in the right order.",
    "A byte walks into a bar and says it feels a bit off.",
    "Why do bees hum? Because they have forgotten the words.",
    "I told my calendar a joke about next week. It said the timing was not right yet.",
    "Why was the broom late? It overswept.",
)
HAIKU = (
    "Quiet keys at night\nA small error hides in light\nMorning finds it gone",
    "Autumn leaves compile\nOne by one the branches fall\nThe tree runs again",
    "Rain upon the roof\nA patient loop of soft sound\nNothing left to fix",
)
LEADS = (
    "Let us look at {subject} in plain words.",
    "Here is a short answer about {subject}.",
    "There are a few things worth knowing about {subject}.",
    "{Subject} is easier to see when you take it in small steps.",
)
POINTS = (
    "Start with what you already know, and add one new idea at a time.",
    "The central thought is simple: small parts work together and make something larger.",
    "It helps to keep a concrete example at hand and to check every step against it.",
    "Most confusion comes from mixing up the cause and the effect.",
    "People have studied it for a long time, and the main lines are well understood.",
    "In practice the details depend on the situation, so measure before you decide.",
    "A good rule of thumb is to prefer the plain way until it proves too slow.",
    "Think of a busy kitchen: everyone has one task, and the order of the tasks matters.",
    "What looks like one problem is often two, and each of them is easier alone.",
    "The limits are as important as the strengths, because they tell you where to stop.",
    "Try it on a small scale first, write down what you see, and then repeat it.",
    "Once the first picture is clear, the finer points fall into place by themselves.",
)
CLOSINGS = (
    "If you like, ask me about any single step and I will go on from there.",
    "That is the heart of it; the rest is practice.",
    "I hope this gives you a useful place to begin.",
)
GREETINGS = (
    "Hello! How can I help you today?",
    "Hi there! What can I do for you?",
    "Hello! It is good to hear from you. What would you like to talk about?",
)
HELLOS = {
    1: ("Hello!",),
    2: ("Hello there!", "Hello, friend!"),
    3: ("Hello, dear friend!", "Hello to you!", "Hello, lovely world!"),
    4: ("Hello and good day!", "Hello, my dear friend!"),
    5: ("Hello and welcome, dear friend!",),
}
CAPITALS = {
    "argentina": "Buenos Aires", "australia": "Canberra", "austria": "Vienna",
    "belgium": "Brussels", "brazil": "Brasília", "canada": "Ottawa", "chile": "Santiago",
    "china": "Beijing", "colombia": "Bogotá", "denmark": "Copenhagen", "egypt": "Cairo",
    "england": "London", "finland": "Helsinki", "france": "Paris", "germany": "Berlin",
    "greece": "Athens", "hungary": "Budapest", "iceland": "Reykjavík", "india": "New Delhi",
    "indonesia": "Jakarta", "ireland": "Dublin", "italy": "Rome", "japan": "Tokyo",
    "kenya": "Nairobi", "mexico": "Mexico City", "morocco": "Rabat", "netherlands": "Amsterdam",
    "new zealand": "Wellington", "nigeria": "Abuja", "norway": "Oslo", "peru": "Lima",
    "poland": "Warsaw", "portugal": "Lisbon", "romania": "Bucharest", "russia": "Moscow",
    "south korea": "Seoul", "spain": "Madrid", "sweden": "Stockholm", "switzerland": "Bern",
    "thailand": "Bangkok", "turkey": "Ankara", "ukraine": "Kyiv", "united kingdom": "London",
    "united states": "Washington, D.C.", "usa": "Washington, D.C.", "vietnam": "Hanoi",
}  # fmt: skip
LISTS = {
    "color": ("red", "green", "blue", "yellow", "purple", "orange", "white", "black"),
    "colour": ("red", "green", "blue", "yellow", "purple", "orange", "white", "black"),
    "fruit": ("apple", "banana", "cherry", "grape", "mango", "orange", "peach", "pear"),
    "animal": ("cat", "dog", "horse", "lion", "otter", "owl", "tiger", "whale"),
    "city": ("Berlin", "Cairo", "Lima", "London", "Nairobi", "Oslo", "Paris", "Tokyo"),
    "country": ("Brazil", "Canada", "Egypt", "France", "India", "Japan", "Kenya", "Norway"),
    "planet": ("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"),
    "language": ("Python", "Go", "Rust", "Java", "Ruby", "Swift", "C", "Haskell"),
    "name": ("Ada", "Alan", "Barbara", "Edsger", "Grace", "Ken", "Margaret", "Tim"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
